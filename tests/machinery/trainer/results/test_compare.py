"""Test what is measured of a new model and of the champion: exact sums in any order, weights, slices and refusals."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from spot.core.errors import TemporarilyUnavailable
from spot.core.evaluation import Evaluation
from spot.storage.factory import open_store
from spot.storage.records import completion, evaluation
from spot.trainer.distributed.group import ALONE
from spot.trainer.metrics import parse_metrics
from spot.trainer.results import compare
from spot.trainer.results.compare import HeldOut, Values, check_slices
from spot.trainer.runtime.errors import PeerLost, UsageError
from tests.machinery.samples import T0
from tests.machinery.storage.completed import complete

RUN, CHAMPION = "20261128-new", "20261101-champion"
NEW, OLD = nn.Identity(), nn.Identity()
NUMBERS = st.floats(-1e6, 1e6)
SAMPLES = st.lists(st.tuples(NUMBERS, NUMBERS, st.floats(0.01, 100)), min_size=1, max_size=30)


def ones(values: Sequence[float]) -> Sequence[Sequence[float]]:
    return [[*values], [1.0] * len(values)]


def evaluated(
    ours: Values | Exception,
    theirs: Values | Exception | None = None,
    *,
    models: Path | None = None,
    metrics: Mapping[str, str] | None = None,
    slices: Sequence[str] = (),
) -> Evaluation | None:
    """Evaluate models that have these values; the champion's files are in the store at `models`."""

    def measure(found: nn.Module, *_: Any) -> Values:
        values = ours if found is NEW else theirs
        if isinstance(values, Exception):
            raise values
        assert values is not None
        return values

    return compare.evaluation(
        RUN,
        parse_metrics(metrics or {"score": "max"}),
        HeldOut(step=lambda *_: {}, loader=(), slices=slices, load=lambda _: OLD),
        f"{models}/{CHAMPION}" if models else None,
        NEW,
        wrap=lambda module: module,
        measure=measure,
        group=ALONE,
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    complete(open_store(str(folder)), CHAMPION, T0)
    return folder


@given(samples=SAMPLES, chance=st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_no_bit(
    samples: list[tuple[float, float, float]], chance: random.Random, models: Path
) -> None:
    found = []
    for _ in range(2):
        new, old, weights = (list(each) for each in zip(*samples, strict=True))
        found.append(evaluated({"score": [new, weights]}, {"score": [old, weights]}, models=models))
        chance.shuffle(samples)
    assert found[0] == found[1]


@given(samples=SAMPLES)
def test_every_measurement_is_one_that_the_supervisor_accepts(
    samples: list[tuple[float, float, float]], models: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    new, old, weights = (list(each) for each in zip(*samples, strict=True))
    found = evaluated({"score": [new, weights]}, {"score": [old, weights]}, models=models)
    store = open_store(str(tmp_path_factory.mktemp("store")))
    complete(store, RUN, T0, found)
    named = completion.read(store, RUN)
    assert named
    assert evaluation.read(store, named) == found


def test_a_weighted_mean_counts_each_sample_by_its_weight(models: Path) -> None:
    weights = [1.0, 3.0]
    found = evaluated({"score": [[1.0, 2.0], weights]}, {"score": [[1.0, 0.0], weights]}, models=models)
    assert found
    assert found.judged.score == 7 / 4
    assert found.judged.paired
    assert (found.judged.paired.challenger, found.judged.paired.champion) == (7 / 4, 1 / 4)
    assert found.judged.paired.squares == 9.0
    assert found.judged.paired.spread == 3.0


def test_a_perplexity_is_compared_before_its_exponential(models: Path) -> None:
    found = evaluated({"p": ones([1, 3])}, {"p": ones([2, 3])}, models=models, metrics={"p": "exp min"})
    assert found
    assert found.judged.score == math.exp(2)
    assert found.judged.gain == 0.5


def test_each_metric_is_measured_on_all_samples_first_and_then_on_each_slice(models: Path) -> None:
    values = {"score": ones([1, 0, 1]), "error": ones([3, 4, 5]), "other": ones([0, 0, 0])}
    metrics = {"score": "max", "error": "min"}
    found = evaluated(values, values, models=models, metrics=metrics, slices=["night", "day", "night"])
    assert found
    measured = [(one.metric, one.slice, one.samples, one.score) for one in found.measurements]
    assert measured == [
        ("score", None, 3, 2 / 3),
        ("score", "day", 1, 0.0),
        ("score", "night", 2, 1.0),
        ("error", None, 3, 4.0),
        ("error", "day", 1, 4.0),
        ("error", "night", 2, 4.0),
    ]
    assert [part.slice for part in found.slices] == ["day", "night"]


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e80])
def test_a_value_that_is_not_finite_is_a_score_of_none(value: float, models: Path) -> None:
    found = evaluated({"score": ones([1, value])}, {"score": ones([1, 1])}, models=models)
    assert found
    assert (found.judged.score, found.judged.paired) == (None, None)


def test_a_sample_of_weight_0_counts_for_nothing_whatever_its_value() -> None:
    found = evaluated({"score": [[1.0, math.nan], [1.0, 0.0]]})
    assert found
    assert found.judged.score == 1.0


PROBLEMS: Mapping[str, tuple[Values | Exception, str]] = {
    "not finite": ({"score": ones([1, math.nan])}, "a value of score is not finite"),
    "missing": ({"other": ones([1, 1])}, "the evaluation returned no value of 'score'"),
    "raises": (RuntimeError("shapes\ndiffer" + "x" * 400), f"shapes differ{'x' * 287}"),
    "says nothing": (KeyError(), "KeyError"),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_a_champion_without_values_is_a_problem(case: str, models: Path) -> None:
    theirs, problem = PROBLEMS[case]
    found = evaluated({"score": ones([1, 0])}, theirs, models=models)
    assert found
    assert (found.champion, found.problem, found.judged.score, found.judged.paired) == (CHAMPION, problem, 0.5, None)


@pytest.mark.parametrize("ours", [{"other": ones([1])}, UsageError("one value per sample"), RuntimeError("broken")])
def test_a_model_without_values_gives_no_evaluation_and_no_failure(
    ours: Values | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert evaluated(ours) is None
    assert "the model is not compared: " in caplog.text


@pytest.mark.parametrize(
    "error", [TemporarilyUnavailable("no answer"), PeerLost("rank 1"), RuntimeError("gloo: closed by peer")]
)
def test_a_failure_that_another_start_may_not_meet_ends_this_start(error: Exception, models: Path) -> None:
    with pytest.raises(type(error)):
        evaluated({"score": ones([1])}, error, models=models)


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        (["a"], "slices has 1 names, 1 different: give one name of at most 100 characters for each of the 2 samples"),
        (["a", ""], "slices has ''"),
        (["a", "b\n"], r"slices has 'b\\n'"),
        (["a", "x" * 101], "slices has 'xxx"),
    ],
)
def test_slices_that_name_no_group_for_each_sample_are_refused(slices: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_slices(slices, 2)


def test_too_many_slices_are_refused() -> None:
    with pytest.raises(UsageError, match=r"101 different: .*, at most 100 different ones"):
        check_slices([str(number) for number in range(101)], 101)
