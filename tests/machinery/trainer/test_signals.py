"""Test that a stop in any phase exits with 143 and the last finished step durable, and the next start continues."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from spot.storage import paths
from spot.storage.factory import open_store
from spot.storage.records import markers
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.zygote import TrainerProcess

PATIENCE_S = 60.0

Undisturbed = tuple[bytes, bytes]
ON_CLOUD_STORAGE = pytest.mark.parametrize("uri", ["gs"], indirect=True)
"""Limits a test that does not depend on the kind of store."""


def wait_for(process: TrainerProcess, pattern: str) -> re.Match[str]:
    """Wait until the output matches, and return the match."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if match := re.search(pattern, process.output):
            return match
        if process.code is not None:
            break
        process.zygote.receive(0.002)
    raise AssertionError(f"no output {pattern!r}, exit {process.code}:\n{process.output}{process.errors}")


def wait_for_marker(trainer: Trainer, process: TrainerProcess) -> None:
    """Wait for the marker of the start, which is written before anything is loaded."""
    store = open_store(f"{trainer.uri}/checkpoints")
    before = markers.count_starts(store, "default")
    end = time.monotonic() + PATIENCE_S
    while markers.count_starts(store, "default") == before and process.code is None and time.monotonic() < end:
        process.zygote.receive(0.0)


def last_step(process: TrainerProcess) -> int:
    return max(int(step) for step in re.findall(r"step (\d+) of", process.output))


def ended(trainer: Trainer, start: int = 1) -> dict[str, object]:
    store = open_store(f"{trainer.uri}/checkpoints")
    marker: dict[str, object] = json.loads(store.read(paths.marker("default", "local", start, "ended")).data)
    return marker


@ON_CLOUD_STORAGE
def test_in_training_the_last_finished_step_is_durable(trainer: Trainer, undisturbed: Undisturbed) -> None:
    process = trainer.start("--checkpoint-interval", "1000")
    wait_for(process, r"step 40 of")
    process.kill(signal.SIGTERM)
    assert process.wait() == 143
    newest = trainer.newest()
    assert newest is not None
    assert newest.step >= last_step(process) >= 40
    assert (ended(trainer)["exit_code"], ended(trainer)["reason"]) == (143, "stopped")
    assert trainer.start().wait() == 0
    assert trainer.result() == undisturbed


@ON_CLOUD_STORAGE
def test_in_start_up_it_exits_at_once_and_loses_nothing(trainer: Trainer, undisturbed: Undisturbed) -> None:
    first = trainer.start("--checkpoint-interval", "1000")
    wait_for(first, r"step 30 of")
    first.kill(signal.SIGTERM)
    assert first.wait() == 143
    before = trainer.newest()
    for _ in range(3):
        starting = trainer.start()
        starting.kill(signal.SIGTERM)
        assert starting.wait() in {143, -signal.SIGTERM}  # the latter before Python handles the signal
    starting = trainer.start()
    wait_for_marker(trainer, starting)
    starting.kill(signal.SIGTERM)
    assert starting.wait() == 143
    assert trainer.newest() == before
    assert trainer.start().wait() == 0
    assert trainer.result() == undisturbed


@ON_CLOUD_STORAGE
def test_a_second_signal_changes_nothing(trainer: Trainer, undisturbed: Undisturbed) -> None:
    process = trainer.start("--checkpoint-interval", "1000")
    wait_for(process, r"step 20 of")
    for _ in range(5):
        process.kill(signal.SIGTERM)
    assert process.wait() == 143
    newest = trainer.newest()
    assert newest is not None
    assert newest.step >= 20
    assert trainer.start().wait() == 0
    assert trainer.result() == undisturbed


@ON_CLOUD_STORAGE
def test_an_interrupt_from_the_keyboard_saves_as_well(trainer: Trainer) -> None:
    process = trainer.start("--checkpoint-interval", "1000")
    wait_for(process, r"step 10 of")
    process.kill(signal.SIGINT)
    assert process.wait() == 130
    assert trainer.newest() is not None


@ON_CLOUD_STORAGE
def test_data_workers_outlive_a_stop_until_the_step_is_finished(trainer: Trainer, undisturbed: Undisturbed) -> None:
    process = trainer.start("--workers", "2", "--checkpoint-interval", "1000")
    wait_for(process, r"step 10 of")
    process.kill(signal.SIGTERM)
    assert process.wait() == 143, process.output + process.errors
    newest = trainer.newest()
    assert newest is not None
    assert newest.step >= 10
    assert trainer.start("--workers", "1").wait() == 0
    assert trainer.result() == undisturbed


@ON_CLOUD_STORAGE
def test_a_data_worker_that_dies_during_a_stop_does_not_prevent_the_save(trainer: Trainer) -> None:
    process = trainer.start("--workers", "2", "--checkpoint-interval", "1000")
    wait_for(process, r"step 10 of")
    workers = [child for child in psutil.Process(process.pid).children() if "uploader" not in " ".join(child.cmdline())]
    assert len(workers) >= 2
    process.kill(signal.SIGTERM, group=False)
    for worker in workers:
        worker.kill()
    assert process.wait() == 143, process.output + process.errors
    assert trainer.newest() is not None


def test_a_killed_trainer_resumes_from_the_newest_checkpoint(trainer: Trainer, undisturbed: Undisturbed) -> None:
    process = trainer.start()
    durable = int(wait_for(process, r"step (\d+): checkpoint durable")[1])
    process.kill(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    again = trainer.start()
    assert again.wait() == 0
    assert int(wait_for(again, r"step (\d+) of \d+: resumed")[1]) >= durable
    assert trainer.result() == undisturbed


@ON_CLOUD_STORAGE
def test_a_complete_run_is_not_trained_again(trainer: Trainer, undisturbed: Undisturbed) -> None:
    assert trainer.start().wait() == 0
    again = trainer.start()
    assert again.wait() == 0
    assert "run default is complete" in again.output
    assert trainer.result() == undisturbed


@ON_CLOUD_STORAGE
def test_a_stop_in_an_evaluation_or_a_save_leaves_no_trace(trainer: Trainer, undisturbed: Undisturbed) -> None:
    """Send the signal after the first output of each kind, whatever the trainer does then."""
    for pattern in (r"step 23 of", r"step 2[4-9]: checkpoint durable|step [3-9]\d: checkpoint durable", r"step 69 of"):
        process = trainer.start()
        _wait_or_end(process, pattern)
        process.kill(signal.SIGTERM)
        assert process.wait() in {0, 143}, process.output + process.errors
    assert trainer.complete() or trainer.start().wait() == 0
    assert trainer.result() == undisturbed


def _wait_or_end(process: TrainerProcess, pattern: str) -> None:
    while process.code is None and not re.search(pattern, process.output):
        process.zygote.receive(0.001)


def _stop(process: TrainerProcess) -> None:
    process.kill(signal.SIGTERM)


def _pause_and_stop(process: TrainerProcess) -> None:
    process.kill(signal.SIGSTOP)
    process.kill(signal.SIGTERM)
    process.kill(signal.SIGCONT)


@pytest.mark.parametrize("stop", [_stop, _pause_and_stop])
def test_a_process_that_hangs_in_start_up_exits_within_its_grace(
    zygote: object, stop: Callable[[TrainerProcess], None]
) -> None:
    """The store accepts connections and never answers."""
    import socket

    from tests.machinery.zygote import Zygote

    assert isinstance(zygote, Zygote)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        flags = ["--checkpoint-dir", "gs://bucket/x", "--output-dir", "gs://bucket/y", "--grace", "3"]
        process = zygote.start(flags, {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        silent.accept()
        stop(process)
        assert process.wait() == 143
