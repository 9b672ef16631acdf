"""Test that a mistake in a task exits with 2 and one line that names it, as early as it can be known."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.machinery.interrupt import Point, at
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.trainer.test_bad_input import refusal
from tests.machinery.zygote import Zygote

REGRESSION = "tests.machinery.tasks.regression"
SELDOM = ("--checkpoint-interval", "1000")


@pytest.fixture
def task(zygote: Zygote, tmp_path: Path) -> Trainer:
    """Return the trainer of a copy of the regression, whose parts a test replaces."""
    folder = tmp_path / "work"
    (folder / "task").mkdir(parents=True)
    (folder / "task/__init__.py").touch()
    (folder / "task/__main__.py").write_text(
        f'from spot.trainer import entry\n\nentry(config="{REGRESSION}.config", model="task.model", data="task.data")\n'
    )
    change(folder)
    return Trainer(zygote, str(tmp_path / "store"), {"STEP_S": "0"}, "task", folder)


def change(folder: Path, *, model: str = "", data: str = "", loop: str = "") -> None:
    """Replace parts of the task, or the default loop by one of the task's own."""
    for name, text in (("model", model), ("data", data)):
        (folder / f"task/{name}.py").write_text(f"from {REGRESSION}.{name} import *\n\n{text}")
    if loop:
        (folder / "task/train.py").write_text(loop)
        (folder / "task/__main__.py").write_text(
            f'from spot.trainer import entry\n\nentry(config="{REGRESSION}.config", loop="task.train")\n'
        )


def folder_of(task: Trainer) -> Path:
    assert task.folder
    return task.folder


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ('METRICS = {"error": "lower"}', ["METRICS['error'] is 'lower'", "'max', 'min', 'exp max', 'exp min'"]),
        ('METRICS = ["error"]', ["METRICS is ['error']", "direction"]),
        ("METRICS = {}", ["task.model has no METRICS"]),
        ("del METRICS", ["task.model has no METRICS"]),
        ("del evaluation_step", ["task.model has no evaluation_step"]),
    ],
)
def test_a_task_without_what_the_contract_asks_for_is_refused_before_training(
    model: str, words: list[str], task: Trainer
) -> None:
    change(folder_of(task), model=model)
    process = task.start()
    line = refusal(process)
    assert all(word in line for word in words), line
    assert "starts, no checkpoint" not in process.output


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--learning-rat", "0.1"), ["--learning-rat", "did you mean --learning-rate?"]),
        (("--learning-rate", "fast"), ["--learning-rate", "'fast'", "number"]),
        (("--learning-rate", "nan"), ["--learning-rate", "'nan'"]),
    ],
)
def test_settings_of_the_task_are_checked_as_flags(flags: tuple[str, ...], words: list[str], task: Trainer) -> None:
    line = refusal(task.start(*flags))
    assert all(word in line for word in words), line


UNSAVEABLE = """
class Strange(Network):
    def get_extra_state(self):
        return {"seen": {1, 2}}

    def set_extra_state(self, state):
        pass


def build(config):
    return Strange()
"""
ANOTHER_NAME = 'def evaluation_step(model, batch):\n    return {"mistake": model(batch.inputs)}'
MEAN = 'def evaluation_step(model, batch):\n    return {"error": model(batch.inputs).mean(), "within_half": 0.0}'
NO_DICT = "def evaluation_step(model, batch):\n    return model(batch.inputs)"
VECTOR = "def training_step(model, batch):\n    return model(batch.inputs) - batch.target"
NO_LOSS = 'def training_step(model, batch):\n    return {"tokens": batch.weight.sum()}'


@pytest.mark.parametrize(
    ("model", "words"),
    [
        pytest.param(UNSAVEABLE, ["model._extra_state.seen", "set", "cannot hold"], id="unsaveable state"),
        pytest.param(VECTOR, ["training_step", "loss", "(50,)", "mean"], id="vector"),
        pytest.param(NO_LOSS, ["training_step", "loss"], id="no loss"),
    ],
)
def test_a_mistake_in_training_is_named_at_the_first_step(model: str, words: list[str], task: Trainer) -> None:
    change(folder_of(task), model=model)
    process = task.start("--batch-size", "50", *SELDOM)
    line = refusal(process)
    assert all(word in line for word in words), line
    assert "step 1 of" not in process.output
    assert task.newest() is None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        pytest.param(MEAN, ["evaluation_step", "error as ()", "one value per sample"], id="mean"),
        pytest.param(NO_DICT, ["evaluation_step", "Tensor", "dict"], id="no dict"),
        pytest.param(ANOTHER_NAME, ["no value of 'error'", "mistake", "METRICS"], id="another name"),
    ],
)
def test_a_mistake_in_the_evaluation_is_named(model: str, words: list[str], task: Trainer) -> None:
    change(folder_of(task), model=model)
    line = refusal(task.start(*SELDOM))
    assert all(word in line for word in words), line


def stop(task: Trainer, marker: Path) -> None:
    """Stop the run after its first step."""
    process = task.start(*SELDOM, **at(Point.BATCH, signal.SIGTERM, marker))
    assert process.wait() == 143, process.output + process.errors


def test_a_loader_of_another_data_set_is_refused(task: Trainer, tmp_path: Path) -> None:
    stop(task, tmp_path / "marker")
    fewer = "whole = load\n\n\ndef load(config, uri):\n    data = whole(config, uri)\n"
    fewer += "    data.train._weights = data.train._inputs = data.train._inputs[:140]\n    return data"
    change(folder_of(task), data=fewer)
    before = task.newest()
    line = refusal(task.start(*SELDOM))
    assert "the checkpoint's loader has size 150 and this one 140" in line
    assert "another --run" in line
    assert task.newest() == before


LOOP = """
import torch
from spot.trainer import Session
from task.data import load


def main():
    with Session.from_environment(metrics={"error": "min"}) as session:
        data = load(session.config, session.data)
        batches = iter(loader := session.loader(data.train))
        model = session.wrap(torch.nn.Linear(6, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        session.track(total_steps=6, model=model, loader=loader, optimizer=optimizer)
        while not session.finished:
            batch = next(batches)
            loss = (model(batch.inputs).squeeze(1) - batch.target).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            session.step({"loss": loss})
"""


def test_a_loop_that_tracks_other_objects_than_the_checkpoint_is_refused(task: Trainer, tmp_path: Path) -> None:
    change(folder_of(task), loop=LOOP)
    stop(task, tmp_path / "marker")
    change(folder_of(task), loop=LOOP.replace("optimizer=optimizer)", "adam=optimizer)"))
    line = refusal(task.start(*SELDOM))
    assert "the checkpoint holds loader, model, optimizer, and this start tracks adam, loader, model" in line
    change(folder_of(task), loop=LOOP)
    assert task.start(*SELDOM).wait() == 0


def test_a_last_step_without_an_evaluation_is_named(task: Trainer) -> None:
    change(folder_of(task), loop=LOOP)
    process = task.start()
    assert process.wait() == 0
    assert "step 6 was not evaluated" in process.output


def test_patience_without_a_metric_is_refused(task: Trainer) -> None:
    change(folder_of(task), loop=LOOP.replace('metrics={"error": "min"}', ""))
    assert "--patience 2 needs a metric" in refusal(task.start("--patience", "2"))
    assert task.start().wait() == 0


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("while not session.finished:", "while session.steps < 3:", ["ended at step 3 of 6", "session.finished"]),
        ("        session.track(", "        dict(", ["tracks nothing", "session.track"]),
        ("optimizer=optimizer)", "optimizer=optimizer, rate=0.01)", ["rate=...", "float", "state_dict"]),
        ("optimizer=optimizer)", "session=optimizer)", ["session=...", "choose another"]),
        ('{"error": "min"}', '["error"]', ["METRICS is ['error']"]),
        ("    with Session", "    return\n    with Session", ["task.train.main()", "Session.from_environment()"]),
        ("def main", "def run", ["task.train", "main()"]),
        (
            "            loss.backward()",
            "            session.evaluate(lambda batch: {}, batches)\n            loss.backward()",
            ["evaluate was called at step 0", "top of the loop"],
        ),
    ],
)
def test_a_mistake_in_a_loop_is_named(before: str, after: str, words: list[str], task: Trainer) -> None:
    assert before in LOOP
    change(folder_of(task), loop=LOOP.replace(before, after))
    line = refusal(task.start(*SELDOM))
    assert all(word in line for word in words), line
    assert not task.complete()
