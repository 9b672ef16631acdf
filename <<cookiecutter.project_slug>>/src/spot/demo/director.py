"""Own the time of a rehearsal: it stands still while any process works, and passes when all wait.

One process is woken at a time, the earliest first. So a rehearsal is one sequence of events, and the load of the
machine changes only how long it takes.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from spot.core.errors import Exit, SpotError
from spot.demo.virtual_clock import CHUNK, EPOCH
from spot.emulators.machines import Gang

STUCK_S = 300.0
"""Real seconds of work without a wait or a line in the log, after which a process hangs."""
LAST_LINES = 20
PRELOADED = ["google.cloud.aiplatform_v1", "torch._inductor", "spot.demo.participants", "spot.trainer.loop"]
"""Imported once, by the process that the participants are forked from."""

Target = Callable[..., object]
"""Runs in a participant's process, with its end of the socket pair, the path of its log, and further arguments."""


class RehearsalError(SpotError):
    """Report a rehearsal that did not reach its end."""

    exit_code = Exit.FAILED


@dataclass(slots=True, eq=False, kw_only=True)
class Participant:
    """Control one process. Implements `Process` of the emulators; `interrupt` may be called in any thread."""

    name: str
    log: Path
    process: ForkServerProcess | Gang
    end: socket.socket
    signals: deque[tuple["Participant", signal.Signals]]
    """Sent when no process works."""
    request: int = 0
    """The number of its newest wait."""
    until: float | None = None
    """The end of its wait in virtual seconds; None while it works."""
    status: dict[str, int] = field(default_factory=dict)
    exit_code: int | None = None
    _received: bytes = b""

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self.exit_code

    def interrupt(self, number: signal.Signals) -> None:
        """Signal the process group as soon as no process works."""
        self.signals.append((self, number))

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal the process group now, or the process while it has no group yet."""
        if isinstance(self.process, Gang):
            return self.process.machines[0].interrupt(number)
        pid = self.process.pid
        assert pid is not None
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def wake(self, now: float) -> None:
        self.until = None
        with contextlib.suppress(OSError):  # its end is heard next
            self.end.sendall(json.dumps([self.request, now]).encode() + b"\n")

    def hear(self) -> None:
        """Take in a new wait, or the end of the process."""
        try:
            data = self.end.recv(CHUNK)
        except ConnectionError:
            data = b""
        if not data:
            self.process.join()
            self.exit_code = self.process.exitcode
            self.end.close()
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self.request, self.until, self.status = json.loads(line)

    @property
    def signs(self) -> set[Any]:
        """Return what can be read once there is something to hear. The descriptors of a gang end with the gang."""
        return {self.end} if isinstance(self.process, Gang) else {self.end, self.process.sentinel}

    def last_lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]


class Director:
    """Start the processes of a rehearsal and let time pass. `logs` is a folder for their output.

    Implements `Clock` for what runs in this process. Use from one thread, except `now`, `monotonic` and `start`.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._now = 0.0
        self._signals: deque[tuple[Participant, signal.Signals]] = deque()
        self._participants: list[Participant] = []
        self._lock = threading.Lock()
        self._count = 0

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._now)

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let time pass. All processes must wait, see `settle`."""
        end = self._now + seconds
        while self._now < end:
            self.step(end)

    def start(self, name: str, target: Target, *arguments: Any) -> Participant:
        """Start a process. It works until it first waits."""
        return self.enlist(name, lambda end, log: self._fork(target, end, str(log), *arguments))

    def enlist(self, name: str, start: Callable[[socket.socket, Path], ForkServerProcess | Gang]) -> Participant:
        """Start a process by a function of its end of a socket pair, and of its log."""
        ours, theirs = socket.socketpair()
        with self._lock:
            self._count += 1
            log = self._logs / f"{self._count:02}-{name}.log"
            log.touch()
            process = start(theirs, log)
            theirs.close()
            participant = Participant(name=name, log=log, process=process, end=ours, signals=self._signals)
            self._participants.append(participant)
        return participant

    def _fork(self, target: Target, *arguments: Any) -> ForkServerProcess:
        process = self._context.Process(target=target, args=arguments)
        process.start()
        return process

    def settle(self) -> None:
        """Wait until every process waits, and send the signals. Raise `RehearsalError` if a process hangs."""
        self._hear_all()
        while self._signals:
            participant, number = self._signals.popleft()
            if participant.exit_code is None:
                participant.kill(number)
                participant.wake(self._now)
                self._hear_all()

    def step(self, not_after: float) -> None:
        """Let time pass to the end of the next wait, at most to `not_after`, and wake that process until it waits."""
        waits = [(one.until, one) for one in self._participants if one.until is not None]
        until, first = min(waits, key=lambda wait: wait[0], default=(float("inf"), None))  # of equals the oldest
        self._now = max(self._now, min(until, not_after))
        if first and until <= not_after:
            first.wake(self._now)
            self._hear_all()

    def close(self) -> None:
        for participant in self._participants:
            participant.kill()
        for participant in self._participants:
            participant.process.join()

    def _hear_all(self) -> None:
        alive_at, written = time.monotonic(), -1
        while working := [one for one in self._participants if one.until is None]:
            for participant in _ready(working):
                participant.hear()
                alive_at = time.monotonic()
            with self._lock:
                self._participants = [one for one in self._participants if one.exit_code is None]
            size = sum(one.log.stat().st_size for one in working)
            if size != written:
                alive_at, written = time.monotonic(), size
            if time.monotonic() - alive_at > STUCK_S:
                stuck = working[0]
                said = f"{stuck.name} has been working for {STUCK_S:.0f} s without a line in its log; its last lines:"
                raise RehearsalError("\n".join([said, *stuck.last_lines()]))


def _ready(working: list[Participant]) -> Iterator[Participant]:
    """Yield the processes that sent a message or ended, after at most a second."""
    ready = connection.wait([sign for one in working for sign in one.signs], 1.0)
    return (one for one in working if not one.signs.isdisjoint(ready))
