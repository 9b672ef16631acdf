"""Define small processes for the director. Run as a module, start a director for a test to kill."""

from __future__ import annotations

import os
import signal
import socket
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from spot.demo import director
from spot.demo.participants import _become
from spot.demo.virtual_clock import VirtualClock
from spot.trainer.runtime.errors import Stopped

LONG = 1e9


def nap(end: socket.socket, log: str, events: str, name: str, *naps: float) -> None:
    """Sleep, and write the time after each sleep."""
    clock = _begin(end, log)
    for seconds in naps:
        clock.sleep(seconds)
        _write(events, f"{name} {clock.monotonic():g}")


def work(end: socket.socket, log: str, fifo: str) -> None:
    """Work for zero virtual time, until the test has written to the pipe."""
    clock = _begin(end, log)
    Path(fifo).read_text()
    clock.sleep(10.0)


def stop(end: socket.socket, log: str, events: str) -> None:
    """Sleep until SIGTERM, then for 5 seconds."""

    def handle(*_: object) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, handle)
    clock = _begin(end, log)
    try:
        clock.sleep(LONG)
    except Stopped:
        _write(events, f"stopped {clock.monotonic():g}")
        clock.sleep(5.0)
        _write(events, f"saved {clock.monotonic():g}")
    sys.exit(143)


def hang(end: socket.socket, log: str) -> None:
    """Write two lines, wait once, and never again."""
    _become(log, dict(os.environ))
    print("loading\nwaiting in real time", flush=True)
    VirtualClock(end)
    signal.pause()


def _begin(end: socket.socket, log: str) -> VirtualClock:
    _become(log, dict(os.environ))
    return VirtualClock(end)


def _write(events: str, line: str) -> None:
    with Path(events).open("a") as file:
        file.write(f"{line}\n")


def main(logs: str) -> None:
    """Start one process that waits and one that works, print their ids, and wait to be killed."""
    director.PRELOADED = [__name__]
    owner = director.Director(Path(logs))
    waiting = owner.start("waiting", nap, f"{logs}/events", "waiting", LONG)
    owner.settle()
    working = owner.start("working", hang)
    owner.settle()
    working.wake(0.0)
    processes = [waiting.process, working.process]
    print(*(process.pid for process in processes if isinstance(process, ForkServerProcess)), flush=True)
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
