"""Test that a run starts from the checkpoints of another run, and then counts on its own alone."""

from __future__ import annotations

import pytest

from spot.storage import paths
from spot.storage.factory import open_store
from spot.storage.records import manifest
from spot.storage.records.manifest import Manifest
from tests.machinery.trainer.conftest import SHORT, Trainer
from tests.machinery.zygote import TrainerProcess

SELDOM = ("--checkpoint-interval", "3600")


def started(trainer: Trainer, run: str, *flags: str) -> TrainerProcess:
    where = ("--output-dir", f"{trainer.uri}/models", "--checkpoint-dir", f"{trainer.uri}/checkpoints")
    return trainer.zygote.start([*where, *SHORT, "--run", run, *flags], trainer.env)


def until(process: TrainerProcess, words: str) -> None:
    while words not in process.output:
        process.zygote.receive(0.01)
        assert process.code is None, process.output + process.errors


def newest(trainer: Trainer, run: str) -> Manifest:
    found = manifest.newest(open_store(f"{trainer.uri}/checkpoints"), run)
    assert found
    return found


def objects(trainer: Trainer, run: str) -> list[tuple[str, int]]:
    store = open_store(f"{trainer.uri}/checkpoints")
    return [(entry.name, entry.generation) for entry in store.list(f"{run}/") if "/attempts/" not in entry.name]


@pytest.fixture
def parent(trainer: Trainer) -> Manifest:
    """Return the newest checkpoint of a run `r1` that was killed."""
    first = started(trainer, "r1")
    until(first, "checkpoint durable")
    first.kill()
    first.wait()
    return newest(trainer, "r1")


def test_killed_before_its_own_checkpoint_it_starts_from_the_parent_again(
    trainer: Trainer, parent: Manifest, undisturbed: tuple[bytes, bytes]
) -> None:
    before = objects(trainer, "r1")
    resumed = f"step {parent.step} of {parent.total_steps}: resumed from the checkpoint of run r1 attempt local"
    second = started(trainer, "r2", "--from-run", "r1", *SELDOM)
    until(second, resumed)
    second.kill()
    second.wait()

    third = started(trainer, "r2", "--from-run", "r1")
    assert third.wait() == 0, third.output + third.errors
    assert resumed in third.output
    store = open_store(f"{trainer.uri}/models")
    assert (
        store.read(paths.output("r2", paths.MODEL)).data,
        store.read(paths.output("r2", paths.METRICS)).data,
    ) == undisturbed
    assert objects(trainer, "r1") == before


def test_once_it_has_a_checkpoint_the_parent_is_not_read_again(trainer: Trainer, parent: Manifest) -> None:
    second = started(trainer, "r2", "--from-run", "r1")
    until(second, "checkpoint durable")
    second.kill()
    second.wait()
    own = newest(trainer, "r2")
    assert (own.run, own.from_step, own.from_token) == ("r2", parent.step, 0)
    store = open_store(f"{trainer.uri}/checkpoints")
    for entry in store.list("r1/"):
        store.delete(entry.name)

    third = started(trainer, "r2", "--from-run", "r1")
    assert third.wait() == 0, third.output + third.errors
    assert f"step {own.step} of {own.total_steps}: resumed from the checkpoint of run r2 " in third.output


def test_without_a_checkpoint_of_either_run_it_ends_at_once(trainer: Trainer) -> None:
    process = started(trainer, "r2", "--from-run", "r1")
    assert process.wait() == 2
    places = f"{trainer.uri}/checkpoints, nor has run r2"
    assert process.errors == f"trainer: --from-run r1: it has no checkpoint in {places}\n"
