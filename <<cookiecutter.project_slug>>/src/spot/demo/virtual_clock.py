"""Tell virtual time in a process of a rehearsal. Time stands still while the process works."""

import json
import os
import socket
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
"""The start of every rehearsal, so that every rehearsal is the same."""
DIRECTOR_GONE = 70
CHUNK = 1 << 12


class VirtualClock:
    """Follow the time of the director at the other end of a socket pair. Only `sleep` lets time pass.

    Each wait is one JSON line, `[number, until, status]`; the director answers `[number, now]` once it is over, or
    after a signal. Use from one thread, except `now` and `monotonic`.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end, self._number, self._answered, self._now = end, 0, 0, 0.0
        self.status: dict[str, int] = {}
        """Sent to the director with each wait."""
        self.sleep(0.0)

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._now)

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        """Wait until `seconds` of virtual time have passed, or until a signal handler raises."""
        until = self._now + max(seconds, 0.0)
        while self.wait(until) < until:
            pass

    def wait(self, until: float) -> float:
        """Wait until this virtual time, or until a signal, and return the time."""
        self._number += 1
        try:
            self._end.sendall(json.dumps([self._number, until, self.status]).encode() + b"\n")
            self._receive()
        except BaseException:  # raised by a signal handler: the director sends the time right after a signal
            self._receive()
            raise
        return self._now

    def _receive(self) -> None:
        """Read the answer. A handler may raise after any call, so an answer is consumed after it took effect."""
        while self._answered < self._number:
            line, found, _ = self._end.recv(CHUNK, socket.MSG_PEEK).partition(b"\n")
            if not found:
                os._exit(DIRECTOR_GONE)
            self._answered, self._now = json.loads(line)
            self._end.recv(len(line) + 1)
