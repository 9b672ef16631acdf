"""Time passes only while every process waits, and signals reach a process at an exact time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from spot.demo.director import Director, RehearsalError
from spot.demo.virtual_clock import DIRECTOR_GONE, EPOCH
from tests.machinery.demo import targets
from tests.machinery.demo.targets import LONG

PATIENCE_S = 60.0


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Return the file that the processes write to."""
    return tmp_path / "events"


def test_the_earliest_wait_is_woken_first_and_ties_go_by_the_order_of_start(director: Director, events: Path) -> None:
    for name, naps in {"a": [3.0, 2.0], "b": [1.0, 4.0], "c": [5.0]}.items():
        director.start(name, targets.nap, str(events), name, *naps)
    director.settle()
    for _ in range(9):
        director.step(6.0)
    assert events.read_text().split("\n")[:-1] == ["b 1", "a 3", "a 5", "b 5", "c 5"]
    assert director.monotonic() == 6.0
    assert (director.now() - EPOCH).total_seconds() == 6.0


def test_no_wait_ends_after_its_step(director: Director, events: Path) -> None:
    participant = director.start("a", targets.nap, str(events), "a", 8.0)
    director.settle()
    director.step(0.0)
    director.step(5.0)
    assert (director.monotonic(), participant.until) == (5.0, 8.0)
    assert not events.exists()


def test_time_stands_still_while_a_process_works(director: Director, events: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    worker = director.start("worker", targets.work, str(fifo))
    napper = director.start("napper", targets.nap, str(events), "napper", 2.0)
    director.settle()
    step = threading.Thread(target=director.step, args=(100.0,))
    step.start()  # wakes the worker
    with fifo.open("w"):  # opens once the worker reads
        assert step.is_alive()
        assert (director.monotonic(), napper.until) == (0.0, 0.0)
    step.join()
    assert (director.monotonic(), worker.until) == (0.0, 10.0)


def test_a_signal_ends_a_wait_at_once_and_the_process_knows_the_time(director: Director, events: Path) -> None:
    trainer = director.start("trainer", targets.stop, str(events))
    director.settle()
    director.step(0.0)
    director.step(7.0)
    trainer.interrupt(signal.SIGTERM)
    assert trainer.until == LONG, "no signal is sent before the director settles"
    director.settle()
    assert trainer.until == 12.0
    assert trainer.poll() is None
    director.step(100.0)
    assert trainer.poll() == 143
    assert events.read_text() == "stopped 7\nsaved 12\n"


def test_a_kill_is_heard_as_the_end_at_the_same_time(director: Director, events: Path) -> None:
    killed, other = (director.start(name, targets.nap, str(events), name, 9.0) for name in "ab")
    director.settle()
    director.step(0.0)
    director.step(0.0)
    director.step(4.0)
    killed.interrupt(signal.SIGKILL)
    director.settle()
    assert killed.poll() == -signal.SIGKILL
    assert director.monotonic() == 4.0
    killed.interrupt(signal.SIGTERM)
    director.settle()
    director.step(100.0)
    assert other.poll() == 0
    assert events.read_text() == "b 9\n"


def test_the_exit_code_of_a_process_is_known(director: Director) -> None:
    participant = director.start("a", targets.nap, "/none/events", "a", 0.0)
    director.settle()
    director.step(0.0)
    director.step(0.0)
    assert participant.poll() == 1
    assert "No such file or directory: '/none/events'" in participant.last_lines()[-1]


def test_a_process_that_hangs_is_named_with_its_last_lines(director: Director, monkeypatch: pytest.MonkeyPatch) -> None:
    director.start("trainer-7", targets.hang)
    director.settle()
    monkeypatch.setattr("spot.demo.director.STUCK_S", 0.1)
    with pytest.raises(
        RehearsalError, match=r"^trainer-7 has been working for 0 s .*:\nloading\nwaiting in real time$"
    ):
        director.step(1.0)


def test_a_process_ends_that_hears_nothing_more_of_the_director(director: Director, events: Path) -> None:
    participant = director.start("a", targets.nap, str(events), "a", LONG)
    director.settle()
    participant.end.close()
    participant.process.join(PATIENCE_S)
    assert participant.process.exitcode == DIRECTOR_GONE


def test_closing_ends_every_process_also_one_that_has_just_started(director: Director, events: Path) -> None:
    processes = [director.start(f"a{number}", targets.nap, str(events), "a", LONG).process for number in range(3)]
    director.close()
    assert [process.exitcode for process in processes] == [-signal.SIGKILL] * 3


def test_the_death_of_the_director_ends_processes_that_wait_and_that_work(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "tests.machinery.demo.targets", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        processes = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
        assert len(processes) == 2
        owner.kill()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            _until_dead(process)


def _until_dead(process: psutil.Process) -> None:
    """Wait; where nobody reaps orphans, a dead process stays a zombie."""
    try:
        process.wait(PATIENCE_S)
    except psutil.TimeoutExpired:
        assert process.status() == psutil.STATUS_ZOMBIE
