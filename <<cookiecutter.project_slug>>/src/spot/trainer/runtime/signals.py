"""Being told to stop: SIGTERM is noticed at once in every phase, and the process is gone when its grace is over."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from spot.trainer.runtime.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)
DEFAULT_GRACE_S = 15.0
MARGIN = 0.05
"""The share of the grace kept back for leaving."""

_log = logging.getLogger(__name__)


class StopSignal:
    """The first SIGTERM or SIGINT asks for a stop, later ones change nothing.

    Sections that leave the training state alone are entered with `interruptible()`: there the request surfaces as
    `Stopped` wherever the main thread is, also in a blocked read. Elsewhere it is seen by `check()` between batches.
    A thread, woken by the signal itself and not by the interpreter, ends the process when the grace is over, so that
    a hanging network or an endless kernel launch cannot outlive it.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.grace_s = DEFAULT_GRACE_S
        self._clock = clock
        self._signal: int | None = None
        self._deadline = 0.0
        self._interruptible = False

    def install(self) -> None:
        """Take the signals over. PID 1 of a container has no default action: before this, SIGTERM is lost there."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._handle)
        threading.Thread(target=self._watch, args=(woken,), name="grace", daemon=True).start()

    @property
    def requested(self) -> bool:
        return self._signal is not None

    @property
    def exit_code(self) -> int:
        """128 + the signal: 143 after SIGTERM."""
        return 128 + (self._signal or signal.SIGTERM)

    def remaining_s(self) -> float:
        """Seconds left to be durable and gone; infinite while nobody asked."""
        return self._deadline - self._clock() if self.requested else float("inf")

    def check(self) -> None:
        """Raise `Stopped` if a stop was asked for."""
        if self.requested:
            raise Stopped

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """A section that can be left anywhere, because it leaves the training state as it was."""
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False

    def _request(self, number: int) -> None:
        # Called by the main thread or by the watcher, whichever wakes first; both would say the same.
        if self._signal is None:
            self._deadline = self._clock() + self.grace_s * (1 - MARGIN)
            self._signal = number

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._request(number)
        # PyTorch raises in the main thread, wherever that is, when a data worker dies: none is needed any more.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if self._interruptible:
            self._interruptible = False
            raise Stopped

    def _watch(self, woken: int) -> None:
        while not self.requested:
            for number in os.read(woken, 1):
                if number in SIGNALS:  # libraries may handle other signals; those are written here too
                    self._request(number)
        _log.warning("%s: saving and leaving within %.1f s", signal.Signals(self.exit_code - 128).name, self.grace_s)
        time.sleep(max(self.remaining_s(), 0.0))
        _log.error("the grace of %.1f s is over: leaving with the newest durable checkpoint", self.grace_s)
        os._exit(self.exit_code)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Start processes in here: signals to the whole group reach them only when they have said what to do with them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_parent(_worker: int = 0) -> None:
    """For a process started with signals held: those to the whole group must not end it before the parent is done."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
