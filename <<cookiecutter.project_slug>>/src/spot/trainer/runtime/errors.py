"""The ways in which the trainer stops other than by finishing, and the exit code of each."""

from __future__ import annotations

from spot.core.errors import Exit, SpotError


class TrainingError(SpotError):
    """Report that training cannot continue."""

    exit_code = Exit.FAILED


class StartAgain(SpotError):
    """Report that this start cannot continue, and that the next start can."""

    exit_code = Exit.AGAIN


class UsageError(SpotError):
    """What was asked for cannot be done; the message says what to change."""


class Stopped(BaseException):
    """A signal asked the process to end. Not an `Exception`, so that no library takes it for a failure."""
