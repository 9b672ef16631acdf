"""Handle SIGTERM and SIGINT: react at once in every phase, and exit before the grace is over."""

import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from spot.core.clock import Clock, SystemClock
from spot.trainer.runtime.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)
PR_SET_PDEATHSIG = 1
DEFAULT_GRACE_S = 15.0
MARGIN = 0.05
"""The share of the grace reserved for the exit itself."""

_log = logging.getLogger(__name__)


class StopSignal:
    """Request a stop on the first SIGTERM or SIGINT; ignore later signals.

    Sections that keep the training state are entered with `interruptible()`: the request raises `Stopped` there, even
    in a blocked read. Other code calls `check()` between batches. A thread ends the process when the grace is over. The
    signal wakes it directly, without the interpreter, so that a hanging network or kernel launch cannot delay the exit.

    Many ranks must stop at the same step: between `follow_votes()` and `end_votes()` a stop is what they agreed on.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.grace_s = DEFAULT_GRACE_S
        self._clock = clock or SystemClock()
        self._signal: int | None = None
        self._deadline = 0.0
        self._interruptible = False
        self._agreed: bool | None = None
        """Whether the ranks agreed to stop; None while this process decides alone."""

    def install(self) -> None:
        """Install the handlers. PID 1 of a container has no default action: until then it ignores SIGTERM."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._handle)
        threading.Thread(target=self._watch, args=(woken,), name="grace", daemon=True).start()

    @property
    def received(self) -> bool:
        """Return whether this process received a signal."""
        return self._signal is not None

    @property
    def requested(self) -> bool:
        return self.received if self._agreed is None else self._agreed

    @property
    def exit_code(self) -> int:
        """Return 128 + the signal: 143 after SIGTERM."""
        return 128 + (self._signal or signal.SIGTERM)

    def remaining_s(self) -> float:
        """Return the seconds left to save and exit; infinite before a signal."""
        return self._deadline - self._clock.monotonic() if self.received else float("inf")

    def follow_votes(self) -> None:
        self._agreed = False

    def end_votes(self) -> None:
        self._agreed = None

    def agree(self, remaining_s: float) -> None:
        """Stop, as the ranks agreed, within the shortest grace of them."""
        self._request(signal.SIGTERM)
        self._deadline = self._clock.monotonic() + remaining_s
        self._agreed = True

    def check(self) -> None:
        """Raise `Stopped` after a signal, or once the ranks agreed to stop."""
        if self.requested:
            raise Stopped

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Enter a section that may be left anywhere, because it does not change the training state."""
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False

    def _request(self, number: int) -> None:
        # Called by the main thread and by the watcher, with the same values.
        if self._signal is None:
            self._deadline = self._clock.monotonic() + self.grace_s * (1 - MARGIN)
            self._signal = number

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._request(number)
        # PyTorch raises in the main thread when a data worker dies, and no data worker is needed any more.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if self._interruptible and self._agreed is None:
            self._interruptible = False
            raise Stopped

    def _watch(self, woken: int) -> None:
        while not self.received:
            for number in os.read(woken, 1):
                if number in SIGNALS:  # signals that libraries handle are written here too
                    self._request(number)
        _log.warning("%s: saving, exit within %.1f s", signal.Signals(self.exit_code - 128).name, self.grace_s)
        time.sleep(max(self.remaining_s(), 0.0))
        _log.error("grace of %.1f s is over: exiting, the newest durable checkpoint stays", self.grace_s)
        os._exit(self.exit_code)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Block signals to the process group while a child starts, until the child has installed its own handling."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_parent(_worker: int = 0) -> None:
    """Ignore signals in a child started under `signals_held()`: the parent still needs it to save."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def die_with(parent: int) -> None:
    """Let the system kill this process when its parent ends, where the system can."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
