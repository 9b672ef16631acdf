"""The ways in which the trainer stops other than by finishing, and the exit code of each."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What the process says to its supervisor."""

    DONE = 0
    """The model and its completion manifest are durable."""
    ERROR = 1
    USAGE = 2
    """Somebody must change something: a flag, the data, a permission, a full disk."""
    AGAIN = 75
    """Nothing is wrong with the training: the store did not answer, it begins anew, or another attempt has it.

    (EX_TEMPFAIL of sysexits.h)
    """


class TrainingError(Exception):
    """Training cannot go on."""


class StartAgain(Exception):
    """This start cannot go on, and the next one can."""


class UsageError(Exception):
    """What was asked for cannot be done; the message says what to change."""


class Stopped(BaseException):
    """A signal asked the process to end. Not an `Exception`, so that no library takes it for a failure."""
