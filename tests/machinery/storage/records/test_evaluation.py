"""Test the measurements of a run: read as written, in the pinned generation, and only if they are possible."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from spot.core.evaluation import Evaluation
from spot.storage import paths
from spot.storage.base import Damaged
from spot.storage.records import codec, completion, evaluation
from spot.storage.records.completion import Completion
from tests.machinery.promotion.measured import alone, measured
from tests.machinery.promotion.measured import evaluation as compared
from tests.machinery.promotion.trained import finish
from tests.machinery.storage.memory import MemoryStore

JUDGED = measured(20, 2, 1000)
PAIRED = JUDGED.paired
assert PAIRED


def stored(found: Evaluation | None) -> tuple[MemoryStore, Completion]:
    models = MemoryStore()
    finish(models, found, "run")
    complete = completion.read(models, "run")
    assert complete
    return models, complete


def test_an_evaluation_is_read_as_it_was_written() -> None:
    for found in (
        compared(JUDGED, measured(3, 2, 100, slice="night"), run="run"),
        alone(run="run"),
        alone(None, run="run"),
        compared(measured(0, 0, 9, paired=None), run="run", problem="it has 32 channels"),
    ):
        assert evaluation.read(*stored(found)) == found


def test_a_run_that_measured_nothing_has_none() -> None:
    assert evaluation.read(*stored(None)) is None


def test_an_object_that_the_completion_does_not_name_does_not_count() -> None:
    models, complete = stored(compared(JUDGED, run="run"))
    name = paths.output("run", paths.EVALUATION)
    data = codec.encode(compared(measured(200, 0, 1000), run="run"))
    models.write(name, data, if_generation=models.read(name).generation)
    with pytest.raises(Damaged, match="was overwritten after the run was complete"):
        evaluation.read(models, complete)
    models.delete(name)
    with pytest.raises(Damaged, match="does not exist any more"):
        evaluation.read(models, complete)
    assert evaluation.find(models, complete) is None


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (compared(JUDGED, run="another"), "it is of run another"),
        (compared(replace(JUDGED, slice="night"), run="run"), "not of all samples"),
        (replace(alone(run="run"), measurements=()), "not of all samples"),
        (compared(JUDGED, run="run", champion=None), "it compares with no champion"),
        (compared(replace(JUDGED, paired=replace(PAIRED, squares=2000.0)), run="run"), "no samples give these sums"),
        (compared(replace(JUDGED, paired=replace(PAIRED, squares=0.1)), run="run"), "no samples give these sums"),
        (compared(replace(JUDGED, paired=replace(PAIRED, spread=0.01)), run="run"), "no samples give these sums"),
    ],
)
def test_a_contradiction_is_damage(found: Evaluation, says: str) -> None:
    with pytest.raises(Damaged, match=says):
        evaluation.read(*stored(found))


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": 0},
        {"paired": replace(PAIRED, spread=1e300)},
        {"metric": "a\nb"},
        {"metric": ""},
        {"score": 1e200},
        {"higher_is_better": 1},
    ],
)
def test_a_value_out_of_bounds_is_damage(changes: dict[str, Any]) -> None:
    with pytest.raises(Damaged, match="is not an evaluation"):
        evaluation.read(*stored(compared(replace(JUDGED, **changes), run="run")))
