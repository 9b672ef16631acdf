"""Test that a run starts from the checkpoints of another run, and then counts on its own alone."""

from __future__ import annotations

from spot.storage import paths
from spot.storage.factory import open_store
from spot.storage.records import manifest
from spot.storage.records.manifest import Manifest
from tests.machinery.trainer.conftest import SHORT, Trainer
from tests.machinery.trainer.test_signals import ON_CLOUD_STORAGE
from tests.machinery.zygote import TrainerProcess

SELDOM = ("--checkpoint-interval", "3600")
LONG = ("--epochs", "40")


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


def killed(trainer: Trainer, run: str, *flags: str) -> Manifest:
    """Kill a run once it has a checkpoint, and return its newest."""
    process = started(trainer, run, *flags)
    until(process, "checkpoint durable")
    process.kill()
    process.wait()
    return newest(trainer, run)


def test_killed_before_its_own_checkpoint_it_starts_from_the_parent_again(
    trainer: Trainer, undisturbed: tuple[bytes, bytes]
) -> None:
    parent = killed(trainer, "r1")
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


@ON_CLOUD_STORAGE
def test_once_it_has_a_checkpoint_the_parent_is_not_read_again(trainer: Trainer) -> None:
    parent = killed(trainer, "r1", *LONG)
    own = killed(trainer, "r2", "--from-run", "r1", *LONG)
    assert (own.run, own.from_step, own.from_token) == ("r2", parent.step, 0)
    store = open_store(f"{trainer.uri}/checkpoints")
    for entry in store.list("r1/"):
        store.delete(entry.name)

    third = started(trainer, "r2", "--from-run", "r1", *LONG)
    until(third, f"step {own.step} of {own.total_steps}: resumed from the checkpoint of run r2 ")
    until(third, "checkpoint durable")
    third.kill()
    third.wait()


@ON_CLOUD_STORAGE
def test_without_a_checkpoint_of_either_run_it_ends_at_once(trainer: Trainer) -> None:
    process = started(trainer, "r2", "--from-run", "r1")
    assert process.wait() == 2
    places = f"{trainer.uri}/checkpoints, nor has run r2"
    assert process.errors == f"trainer: --from-run r1: it has no checkpoint in {places}\n"
