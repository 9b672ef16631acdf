"""The machines of a job are one process to the director: they are gone once the last is gone."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spot.demo.director import Director, Participant
from spot.emulators.machines import Gang, Network
from tests.machinery.demo import member
from tests.machinery.emulators import replica
from tests.machinery.emulators.world import custom_job
from tests.paths import REPOSITORY


@pytest.fixture
def gang() -> Iterator[Gang]:
    with Network(namespaces=False) as network:
        yield Gang([network.machine() for _ in range(2)])


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """Return the pipe that a replica reads before it leaves."""
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


@pytest.fixture
def primary(gang: Gang, director: Director, tmp_path: Path, fifo: Path) -> Participant:
    def start(end: socket.socket, log: Path) -> Gang:
        command = (member.__name__, str(end.fileno()), str(tmp_path / "events"), str(fifo))
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        gang.start(custom_job(machines=2)["jobSpec"], command, environ, log, end.fileno())
        return gang

    primary = director.enlist("a1", start)
    director.settle()
    director.step(0.0)
    assert primary.until == 10.0
    return primary


def leave(director: Director, fifo: Path, *steps: float) -> None:
    """Let time pass, and let the other replica leave once the director waits for it."""

    def pass_time() -> None:
        director.settle()
        for until in steps:
            director.step(until)

    passing = threading.Thread(target=pass_time)
    passing.start()
    with fifo.open("w"):  # opens once the replica reads
        assert passing.is_alive()
    passing.join()


def test_time_stands_still_until_the_last_replica_has_left(
    director: Director, primary: Participant, gang: Gang, tmp_path: Path, fifo: Path
) -> None:
    leave(director, fifo, 100.0)
    assert (director.monotonic(), (tmp_path / "events").read_text()) == (10.0, "10")
    assert (primary.poll(), gang.machines[1].poll()) == (0, replica.LOST)


def test_a_primary_that_is_killed_is_missed_by_its_peers_at_the_same_time(
    director: Director, primary: Participant, gang: Gang, fifo: Path
) -> None:
    primary.interrupt(signal.SIGKILL)
    leave(director, fifo)
    assert director.monotonic() == 0.0
    assert (primary.poll(), gang.machines[1].poll()) == (-signal.SIGKILL, replica.LOST)


def test_a_replica_that_does_not_leave_holds_up_nothing_for_long(
    director: Director, primary: Participant, gang: Gang, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spot.emulators.machines.LEAVE_S", 0.1)
    gang.machines[1].disconnect()
    primary.interrupt(signal.SIGKILL)
    director.settle()
    assert primary.poll() == -signal.SIGKILL
    assert gang.machines[1].poll() is None
