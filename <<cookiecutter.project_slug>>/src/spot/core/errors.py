"""Define the exit codes and the errors that entry points report without a traceback."""

from enum import IntEnum

TRY_AGAIN = "nothing is lost, try again"
LOGIN = "gcloud auth application-default login"


class Exit(IntEnum):
    """Name the exit codes of `spot` and of the trainer."""

    DONE = 0
    FAILED = 1
    """The run failed or was cancelled; for the trainer: training cannot continue."""
    USAGE = 2
    """A flag, a setting, a permission or the data must be changed first."""
    AGAIN = 75
    """The run is open, or a service did not answer. (EX_TEMPFAIL of sysexits.h)"""


class SpotError(Exception):
    """Report a failure with a known cause."""

    exit_code: Exit = Exit.USAGE
    fix: str = ""
    """A command or a sentence; empty if the message says enough."""

    def __init__(self, message: str, *, fix: str | None = None, exit_code: Exit | None = None) -> None:
        super().__init__(message)
        self.message = message
        if fix is not None:
            self.fix = fix
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message} (fix: {self.fix})" if self.fix else self.message

    @property
    def lines(self) -> list[str]:
        """Return what an operator reads, one line for each mistake."""
        line = " ".join(str(self).split()) or type(self).__name__
        return [line if self.fix or self.exit_code is not Exit.AGAIN else f"{line} ({TRY_AGAIN})"]


class PermissionDenied(SpotError):
    """Report missing credentials or permissions, a missing bucket or a full disk. Never retried."""


class TemporarilyUnavailable(SpotError):
    """Report that a service gave no usable answer within the retries; a write may have taken effect."""

    exit_code = Exit.AGAIN
