"""Test that a training measures its model and the champion on the same samples, and never fails because of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import load, save

from spot.core.evaluation import Evaluation
from spot.storage import paths
from spot.storage.factory import open_store
from spot.storage.local import LocalStore
from spot.storage.records import champion, codec, completion, evaluation
from spot.trainer import Sample, UsageError
from spot.trainer.context import Runtime, Start
from spot.trainer.data.contract import TaskModel
from spot.trainer.data.loader import Loader
from spot.trainer.loop import train
from spot.trainer.results.export import load_exported
from tests.machinery.fixture_task import TASK, data, model
from tests.machinery.fixture_task.config import Config
from tests.machinery.interrupt import Point, at
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.trainer.distributed import ranks
from tests.machinery.trainer.harness import Case, Few, InMemorySession, StopAfter
from tests.machinery.trainer.test_real_tasks import extract_loop
from tests.machinery.zygote import Zygote

FIRST, SECOND = "20261101-first", "20261108-second"
BRIEF = ("--epochs", "1")


def finish(trainer: Trainer, run: str, *flags: str) -> str:
    """Train a run to its end, and return its log."""
    process = trainer.start("--run", run, *BRIEF, *flags)
    assert process.wait() == 0, process.output + process.errors
    return process.output


def pin(trainer: Trainer, run: str = FIRST) -> str:
    """Return the value of `--champion` for a complete run."""
    complete = completion.read(open_store(f"{trainer.uri}/models"), run)
    assert complete
    return f"{trainer.uri}/models/{run}#{champion.digest(complete.model)}"


def measured(trainer: Trainer, run: str = SECOND) -> Evaluation:
    models = open_store(f"{trainer.uri}/models")
    complete = completion.read(models, run)
    assert complete
    found = evaluation.read(models, complete)
    assert found
    return found


def written(trainer: Trainer, run: str = SECOND) -> bytes:
    return open_store(f"{trainer.uri}/models").read(paths.output(run, paths.EVALUATION)).data


def answers(trainer: Trainer, run: str) -> list[float]:
    """Return whether the exported model of a run is right on each held-out sample, computed without the trainer."""
    found, shipped = data.load(Config(), "sample").held_out, Path(trainer.uri) / "models" / run / "model"
    batch = [found[Sample(seed=0, epoch=0, index=index)] for index in range(len(found))]
    inputs, targets = (torch.stack(list(each)) for each in zip(*batch, strict=True))
    with torch.no_grad():
        values: list[float] = model.evaluation_step(load_exported(shipped), (inputs, targets))["accuracy"].tolist()
    return values


@pytest.fixture
def here(zygote: Zygote, tmp_path: Path) -> Trainer:
    return Trainer(zygote, str(tmp_path))


SHIPPED: Sequence[tuple[str, ...]] = [(), ("--ema", "0.5"), ("--patience", "1", "--epochs", "9")]


@pytest.mark.parametrize("flags", SHIPPED, ids=["last", "average", "best"])
def test_the_shipped_models_of_both_runs_are_compared_sample_by_sample(flags: tuple[str, ...], here: Trainer) -> None:
    finish(here, FIRST, "--seed", "1", "--ema", "0.9")
    finish(here, SECOND, "--champion", pin(here), *flags)
    new, old = answers(here, SECOND), answers(here, FIRST)
    found = measured(here).judged
    assert found.paired
    assert measured(here).champion == FIRST
    assert found.score == found.paired.challenger == pytest.approx(sum(new) / len(new), rel=1e-15)
    assert found.paired.champion == pytest.approx(sum(old) / len(old), rel=1e-15)
    assert found.paired.squares == sum((one - two) ** 2 for one, two in zip(new, old, strict=True)) > 0
    assert (found.samples, found.paired.spread) == (len(new), 1.0)


def test_without_a_champion_the_model_is_measured_alone(here: Trainer) -> None:
    finish(here, FIRST)
    found = measured(here, FIRST)
    assert (found.champion, found.problem, found.judged.paired) == (None, None, None)
    metrics = json.loads(open_store(f"{here.uri}/models").read(paths.output(FIRST, paths.METRICS)).data)
    assert found.judged.score == metrics["shipped"]["accuracy"]


def test_a_kill_in_the_comparison_changes_no_byte(zygote: Zygote, gs_uri: str, tmp_path: Path) -> None:
    trainer = Trainer(zygote, gs_uri)
    finish(trainer, FIRST, "--seed", "1")
    for number, marker in ((signal.SIGKILL, tmp_path / "killed"), (signal.SIGTERM, tmp_path / "stopped")):
        flags = ("--run", f"{SECOND}-{number}", *BRIEF, "--champion", pin(trainer))
        process = trainer.start(*flags, **at(Point.COMPARISON, number, marker))
        assert process.wait() == (-number if number is signal.SIGKILL else 143), process.output + process.errors
        assert marker.exists()
        finish(trainer, f"{SECOND}-{number}", "--champion", pin(trainer))
    finish(trainer, SECOND, "--champion", pin(trainer))
    expected = written(trainer)
    assert measured(trainer).judged.paired
    for number in (signal.SIGKILL, signal.SIGTERM):
        run = f"{SECOND}-{number}"
        assert written(trainer, run).replace(run.encode(), SECOND.encode()) == expected


@pytest.mark.ranks
@pytest.mark.parametrize("parallel", ["fsdp", "ddp"])
def test_three_ranks_killed_in_the_comparison_repeat_it_byte_for_byte(parallel: str, here: Trainer) -> None:
    trainer = replace(here, package="tests.machinery.tasks.transformer", env={"STEP_S": "0"})
    common = (*BRIEF, "--batch-size", "12", "--evaluate-every", "1000", "--parallel", parallel)
    alone = (*BRIEF, "--batch-size", "12", "--evaluate-every", "1000")
    finish(trainer, FIRST, *alone, "--seed", "1")
    given = (*common, "--champion", pin(trainer))
    for run, kills in ((SECOND, 0), (f"{SECOND}-killed", 1)):
        marker = Path(here.uri) / "killed"
        if kills:
            killing = replace(trainer, env={**trainer.env, **at(Point.COMPARISON, signal.SIGKILL, marker)})
            first = ranks.start(killing, 3, "--run", run, *given)
            assert sorted(set(first.wait())) == [-signal.SIGKILL, 75], first.text
            assert marker.exists()
        last = ranks.start(trainer, 3, "--run", run, *given)
        assert last.wait() == [0, 0, 0], last.text
    found = measured(trainer).judged
    assert (found.samples, found.metric) == (21, "loss")
    assert found.paired
    assert found.paired.squares > 0
    killed = written(trainer, f"{SECOND}-killed")
    assert killed.replace(f"{SECOND}-killed".encode(), SECOND.encode()) == written(trainer)


@pytest.mark.parametrize(("test", "judging"), [(None, 10), (7, 7)])
def test_the_default_loop_judges_by_the_third_part_of_the_data_if_there_is_one(test: int | None, judging: int) -> None:
    session = trained(test, ["night"] * judging)
    held_out = session._engine.held_out
    assert held_out
    assert isinstance(held_out.loader, Loader)
    assert (held_out.loader.size, held_out.slices) == (judging, ["night"] * judging)


def test_slices_that_do_not_fit_the_samples_end_a_training_before_its_first_step() -> None:
    with pytest.raises(UsageError, match="slices has 10 names, 1 different"):
        trained(7, ["night"] * 10)


def trained(test: int | None, slices: Sequence[str]) -> InMemorySession:
    """Train with the default loop on few samples."""
    case = Case(arguments=("--epochs", "1"))
    found = data.load(Config(), "sample")
    given = replace(
        found,
        train=Few(found.train, 50),
        held_out=Few(found.held_out, 10),
        test=Few(found.held_out, test) if test else None,
        slices=slices,
        objects=(),
    )
    begun = Start(task=TASK, flags=case.flags, outputs=LocalStore("/nowhere"), stop=StopAfter(None), runtime=Runtime())
    session = InMemorySession(begun, metrics=model.METRICS)
    train(session, cast(TaskModel, model), given, case.flags)
    return session


def test_the_documented_loop_builds_and_compares_the_champion_by_a_function_of_its_own(
    zygote: Zygote, tmp_path: Path
) -> None:
    extract_loop(tmp_path / "project")
    trainer = Trainer(zygote, str(tmp_path), package="task", folder=tmp_path / "project")
    flags = ("--steps", "4", "--batch-size", "8")
    for run, more in ((FIRST, ("--seed", "1")), (SECOND, ())):
        champion_of = ("--champion", pin(trainer)) if run == SECOND else ()
        process = trainer.start("--run", run, *flags, *more, *champion_of)
        assert process.wait() == 0, process.output + process.errors
    found = measured(trainer)
    assert found.problem is None
    assert (found.judged.metric, found.judged.higher_is_better) == ("perplexity", False)
    assert found.judged.paired
    assert found.judged.paired.squares > 0


def spoiled(trainer: Trainer, name: str, content: bytes | None) -> str:
    """Replace or delete a file of the champion after its promotion, and return what the promotion pinned."""
    pinned, store = pin(trainer), open_store(f"{trainer.uri}/models")
    name = paths.output(FIRST, name)
    generation = store.read(name).generation
    if content is None:
        store.delete(name)
    else:
        store.write(name, content, if_generation=generation)
    return pinned


def of_another_shape(trainer: Trainer) -> str:
    """Return a champion whose weights do not fit the model that the task builds now."""
    models = open_store(f"{trainer.uri}/models")
    complete, found = completion.read(models, FIRST), models.read(paths.output(FIRST, paths.MODEL))
    assert complete
    weights = save({name: value[..., :1].contiguous() for name, value in load(found.data).items() if value.dim()})
    again = models.write(paths.output(FIRST, paths.MODEL), weights, if_generation=found.generation)
    name = paths.output(FIRST, paths.COMPLETION)
    record = codec.encode(replace(complete, objects={**complete.objects, paths.MODEL: again}))
    models.write(name, record, if_generation=models.read(name).generation)
    return pin(trainer)


PROBLEMS: Mapping[str, tuple[Callable[[Trainer], str], str]] = {
    "a file is gone": (lambda trainer: spoiled(trainer, paths.MODEL, None), "names no generation of"),
    "a file is another": (lambda trainer: spoiled(trainer, paths.MODEL, b"other"), "names no generation of"),
    "the run is gone": (lambda trainer: spoiled(trainer, paths.COMPLETION, None), "does not hold the files"),
    "other files": (lambda trainer: pin(trainer)[:-4] + "0000", "does not hold the files that were promoted"),
    "another architecture": (of_another_shape, "is of another model"),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_a_champion_that_cannot_be_compared_is_a_problem_and_no_failure(case: str, here: Trainer) -> None:
    spoil, words = PROBLEMS[case]
    finish(here, FIRST)
    finish(here, SECOND, "--champion", spoil(here))
    found = measured(here)
    assert found.champion == FIRST
    assert found.judged.score is not None
    assert found.judged.paired is None
    assert words in (found.problem or "")
