"""A stop is noticed in every phase: exit 143 with the last finished step durable, and the next start goes on."""

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
from tests.machinery.zygote import Life

PATIENCE_S = 60.0

Undisturbed = tuple[bytes, bytes]
ON_CLOUD_STORAGE = pytest.mark.parametrize("uri", ["gs"], indirect=True)
"""For a promise that does not depend on the kind of store."""


def wait_for(life: Life, pattern: str) -> re.Match[str]:
    """Until the trainer says so."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if match := re.search(pattern, life.output):
            return match
        if life.code is not None:
            break
        life.zygote.hear(0.002)
    raise AssertionError(f"never said {pattern!r}, exit {life.code}:\n{life.output}{life.errors}")


def wait_for_marker(trainer: Trainer, life: Life) -> None:
    """Until its start is marked, which is before anything is loaded."""
    store = open_store(f"{trainer.uri}/checkpoints")
    before = markers.count_starts(store, "default")
    end = time.monotonic() + PATIENCE_S
    while markers.count_starts(store, "default") == before and life.code is None and time.monotonic() < end:
        life.zygote.hear(0.0)


def last_step(life: Life) -> int:
    return max(int(step) for step in re.findall(r"step (\d+) of", life.output))


def ended(trainer: Trainer, start: int = 1) -> dict[str, object]:
    store = open_store(f"{trainer.uri}/checkpoints")
    marker: dict[str, object] = json.loads(store.read(paths.marker("default", "local", start, "ended")).data)
    return marker


def test_in_training_the_last_finished_step_is_durable(trainer: Trainer, undisturbed: Undisturbed) -> None:
    life = trainer.start("--checkpoint-interval", "1000")
    wait_for(life, r"step 40 of")
    life.kill(signal.SIGTERM)
    assert life.wait() == 143
    newest = trainer.newest()
    assert newest is not None
    assert newest.step >= last_step(life) >= 40
    assert (ended(trainer)["exit_code"], ended(trainer)["durable_step"]) == (143, newest.step)
    assert trainer.start().wait() == 0
    assert trainer.result() == undisturbed


@ON_CLOUD_STORAGE
def test_in_start_up_it_leaves_at_once_with_nothing_lost(trainer: Trainer, undisturbed: Undisturbed) -> None:
    first = trainer.start("--checkpoint-interval", "1000")
    wait_for(first, r"step 30 of")
    first.kill(signal.SIGTERM)
    assert first.wait() == 143
    before = trainer.newest()
    for _ in range(3):
        starting = trainer.start()
        starting.kill(signal.SIGTERM)
        assert starting.wait() in {143, -signal.SIGTERM}  # the latter before Python can take the signal over
    starting = trainer.start()
    wait_for_marker(trainer, starting)
    starting.kill(signal.SIGTERM)
    assert starting.wait() == 143
    assert trainer.newest() == before
    assert trainer.start().wait() == 0
    assert trainer.result() == undisturbed


@ON_CLOUD_STORAGE
def test_a_second_signal_changes_nothing(trainer: Trainer, undisturbed: Undisturbed) -> None:
    life = trainer.start("--checkpoint-interval", "1000")
    wait_for(life, r"step 20 of")
    for _ in range(5):
        life.kill(signal.SIGTERM)
    assert life.wait() == 143
    newest = trainer.newest()
    assert newest is not None
    assert newest.step >= 20
    assert trainer.start().wait() == 0
    assert trainer.result() == undisturbed


@ON_CLOUD_STORAGE
def test_interrupt_from_the_keyboard_saves_as_well(trainer: Trainer) -> None:
    life = trainer.start("--checkpoint-interval", "1000")
    wait_for(life, r"step 10 of")
    life.kill(signal.SIGINT)
    assert life.wait() == 130
    assert trainer.newest() is not None


@ON_CLOUD_STORAGE
def test_data_workers_do_not_die_before_the_step_is_done(trainer: Trainer, undisturbed: Undisturbed) -> None:
    life = trainer.start("--workers", "2", "--checkpoint-interval", "1000")
    wait_for(life, r"step 10 of")
    life.kill(signal.SIGTERM)
    assert life.wait() == 143, life.output + life.errors
    newest = trainer.newest()
    assert newest is not None
    assert newest.step >= 10
    assert trainer.start("--workers", "1").wait() == 0
    assert trainer.result() == undisturbed


@ON_CLOUD_STORAGE
def test_a_data_worker_that_dies_while_the_trainer_leaves_does_not_matter(trainer: Trainer) -> None:
    life = trainer.start("--workers", "2", "--checkpoint-interval", "1000")
    wait_for(life, r"step 10 of")
    workers = [child for child in psutil.Process(life.pid).children() if "uploader" not in " ".join(child.cmdline())]
    assert len(workers) >= 2
    life.kill(signal.SIGTERM, group=False)
    for worker in workers:
        worker.kill()
    assert life.wait() == 143, life.output + life.errors
    assert trainer.newest() is not None


def test_killed_it_goes_on_from_the_newest_checkpoint(trainer: Trainer, undisturbed: Undisturbed) -> None:
    life = trainer.start()
    durable = int(wait_for(life, r"step (\d+): checkpoint durable")[1])
    life.kill(signal.SIGKILL)
    assert life.wait() == -signal.SIGKILL
    again = trainer.start()
    assert again.wait() == 0
    assert int(wait_for(again, r"step (\d+) of \d+: resumed")[1]) >= durable
    assert trainer.result() == undisturbed


def test_a_complete_run_is_not_trained_again(trainer: Trainer, undisturbed: Undisturbed) -> None:
    assert trainer.start().wait() == 0
    again = trainer.start("--epochs", "5")
    assert again.wait() == 0
    assert "run default is complete" in again.output
    assert trainer.result() == undisturbed


@ON_CLOUD_STORAGE
def test_a_stop_in_an_evaluation_or_a_save_leaves_no_trace(trainer: Trainer, undisturbed: Undisturbed) -> None:
    """Signals at the first word of each kind that the trainer says, wherever that finds it."""
    for pattern in (r"step 23 of", r"step 2[4-9]: checkpoint durable|step [3-9]\d: checkpoint durable", r"step 69 of"):
        life = trainer.start()
        _wait_or_end(life, pattern)
        life.kill(signal.SIGTERM)
        assert life.wait() in {0, 143}, life.output + life.errors
    assert trainer.complete() or trainer.start().wait() == 0
    assert trainer.result() == undisturbed


def _wait_or_end(life: Life, pattern: str) -> None:
    while life.code is None and not re.search(pattern, life.output):
        life.zygote.hear(0.001)


def _stop(life: Life) -> None:
    life.kill(signal.SIGTERM)


def _pause_and_stop(life: Life) -> None:
    life.kill(signal.SIGSTOP)
    life.kill(signal.SIGTERM)
    life.kill(signal.SIGCONT)


@pytest.mark.parametrize("stop", [_stop, _pause_and_stop])
def test_a_process_that_hangs_in_start_up_is_gone_when_its_grace_is_over(
    zygote: object, stop: Callable[[Life], None]
) -> None:
    """The store accepts connections and never answers."""
    import socket

    from tests.machinery.zygote import Zygote

    assert isinstance(zygote, Zygote)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        flags = ["--checkpoint-dir", "gs://bucket/x", "--output-dir", "gs://bucket/y", "--grace", "3"]
        life = zygote.start(flags, {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        silent.accept()
        stop(life)
        assert life.wait() == 143
