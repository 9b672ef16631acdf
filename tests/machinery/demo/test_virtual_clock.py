"""A process of a rehearsal hears the time with each wait, whatever interrupts it."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from spot.demo.virtual_clock import EPOCH, VirtualClock
from spot.trainer.runtime.errors import Stopped


class Interrupted(socket.socket):
    """Receive a signal right after the call of number `signal_after`, counted from 1."""

    signal_after = 0

    def sendall(self, *arguments: Any) -> None:
        super().sendall(*arguments)
        self._count()

    def recv(self, *arguments: Any) -> bytes:
        data = super().recv(*arguments)
        self._count()
        return data

    def _count(self) -> None:
        self.signal_after -= 1
        if self.signal_after == 0:
            signal.raise_signal(signal.SIGUSR1)


@pytest.fixture
def ends() -> Iterator[tuple[Interrupted, socket.socket]]:
    """Yield the participant's and the director's end; the first wait is answered."""
    ours, theirs = socket.socketpair()
    with Interrupted(fileno=ours.detach()) as end, theirs:
        theirs.sendall(b"[1, 0.0]\n")
        yield end, theirs


@pytest.fixture
def raising() -> Iterator[None]:
    """Raise `Stopped` on SIGUSR1."""

    def handle(*_: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGUSR1, handle)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_a_wait_is_one_line_and_its_answer_is_the_time(ends: tuple[Interrupted, socket.socket]) -> None:
    end, theirs = ends
    theirs.sendall(b"[2, 7.5]\n")
    clock = VirtualClock(end)
    clock.status["step"] = 3
    assert clock.wait(9.0) == clock.monotonic() == 7.5
    assert clock.now() == EPOCH + timedelta(seconds=7.5)
    assert [json.loads(line) for line in theirs.recv(1000).splitlines()] == [[1, 0.0, {}], [2, 9.0, {"step": 3}]]


def test_a_sleep_goes_on_after_a_signal_that_stops_nothing(ends: tuple[Interrupted, socket.socket]) -> None:
    end, theirs = ends
    theirs.sendall(b"[2, 3.0]\n[3, 5.0]\n")
    clock = VirtualClock(end)
    clock.sleep(5.0)
    assert clock.monotonic() == 5.0
    assert [json.loads(line)[1] for line in theirs.recv(1000).splitlines()] == [0.0, 5.0, 5.0]


@pytest.mark.usefixtures("raising")
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_signal_may_end_a_wait_after_any_call_and_the_time_is_not_lost(
    call: int, ends: tuple[Interrupted, socket.socket]
) -> None:
    end, theirs = ends
    clock = VirtualClock(end)
    theirs.sendall(b"[2, 7.0]\n[3, 12.0]\n")
    end.signal_after = call
    with pytest.raises(Stopped):
        clock.wait(1000.0)
    assert clock.monotonic() == 7.0
    clock.sleep(5.0)
    assert clock.monotonic() == 12.0
