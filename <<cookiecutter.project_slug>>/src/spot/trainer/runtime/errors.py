"""Define how the trainer stops before it is finished, and the exit code of each way."""

from spot.core.errors import Exit, SpotError


class TrainingError(SpotError):
    """Report that training cannot continue."""

    exit_code = Exit.FAILED


class StartAgain(SpotError):
    """Report that this start cannot continue, and that the next start can."""

    exit_code = Exit.AGAIN


class PeerLost(StartAgain):
    """Report that another rank has ended, vanished or does not answer."""


class UsageError(SpotError):
    """Report a flag, data or a checkpoint that the trainer refuses; the message says what to change."""


class Stopped(BaseException):
    """Unwind the stack after a signal. Not an `Exception`, so that no library handles it as a failure."""


class Launched(BaseException):
    """Unwind the stack of a launcher whose ranks have ended with `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Completed(BaseException):
    """Unwind the stack of a start whose run is already complete."""
