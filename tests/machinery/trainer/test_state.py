"""Test the counts of steps, epochs and patience, and that the state of another model is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from spot.storage.base import Damaged
from spot.trainer.runtime.errors import UsageError
from spot.trainer.state import TrainingState
from tests.machinery.fixture_task import model
from tests.machinery.fixture_task.config import Config
from tests.machinery.trainer.harness import fresh


def test_the_train_loss_of_an_evaluation_is_the_mean_over_steps_since_the_last() -> None:
    state = fresh()
    state.stepped({"loss": 4.0})
    state.stepped({"loss": torch.tensor(1.0)})
    state.evaluated({"accuracy": 0.1}, 0.5)
    state.stepped({"loss": 7.0})
    state.evaluated({"accuracy": 0.1}, 0.5)
    assert [entry["train_loss"] for entry in state.counters.history] == [2.5, 7.0]


@given(st.integers(1, 40), st.integers(1, 40))
def test_evaluations_left_count_down_to_none(steps: int, every: int) -> None:
    state = fresh(total_steps=steps)
    left = []
    for step in range(1, steps + 1):
        state.stepped({})
        if step % every == 0 or step == steps:
            state.evaluated({"accuracy": 0.5}, 0.5)
            left.append(state.describe()["evaluations_left"])
    assert left[-1] == 0
    assert left == sorted(left, reverse=True)


@pytest.mark.parametrize(("direction", "values"), [("max", [0.1, 0.5, 0.5, 0.4]), ("min", [0.5, 0.1, 0.1, 0.4])])
def test_patience_counts_evaluations_that_are_not_better(direction: str, values: list[float]) -> None:
    state = fresh(patience=2, accuracy=direction)
    ended = []
    for value in values:
        state.stepped({})
        state.evaluated({"accuracy": value}, 0.5)
        ended.append(state.finished)
    assert ended == [False, False, False, True]
    assert (state.counters.best_step, state.counters.best, state.shipped["step"]) == (2, values[1], 2)


def test_nan_is_never_the_best() -> None:
    state = fresh(patience=1)
    state.evaluated({"accuracy": 0.1}, 0.5)
    state.evaluated({"accuracy": math.nan}, 0.5)
    assert state.counters.best == 0.1
    assert state.finished
    assert state.describe()["score"] is None


@pytest.mark.parametrize(("direction", "better"), [("max", 1.0), ("min", -1.0), ("exp min", -1.0)])
def test_the_score_of_a_manifest_is_higher_where_the_metric_is_better(direction: str, better: float) -> None:
    state = fresh(accuracy=direction)
    state.evaluated({"accuracy": 3.0}, 0.5)
    assert state.describe()["score"] == better * 3.0


def test_the_weights_of_the_best_evaluation_are_shipped_also_after_a_resume() -> None:
    state = fresh(patience=5)
    state.evaluated({"accuracy": 0.9}, 0.5)
    weight = state.tracked["model"].state_dict()["0.weight"]
    best = weight.clone()
    weight += 1
    state.stepped({})
    state.evaluated({"accuracy": 0.8}, 0.5)
    resumed = fresh(patience=5)
    resumed.restore(*state.capture())
    resumed.load_shipped()
    assert resumed.tracked["model"].state_dict()["0.weight"].equal(best)
    assert resumed.shipped["accuracy"] == 0.9


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "thing.value is a object"),
        (torch.zeros(1, dtype=torch.complex64), "thing.value has dtype torch.complex64"),
    ],
)
def test_a_value_that_no_checkpoint_holds_is_named(value: object, words: str) -> None:
    state = fresh()
    state.tracked["thing"] = Thing(value)
    with pytest.raises(UsageError, match=words):
        state.check()


def test_a_checkpoint_of_other_objects_is_refused_by_their_names() -> None:
    state = fresh()
    captured = state.capture()
    state.tracked["ema"] = Thing(1)
    with pytest.raises(UsageError, match="holds model, optimizer, scheduler, and this start tracks ema, model"):
        state.restore(*captured)


class Thing:
    def __init__(self, value: object) -> None:
        self.value = value

    def state_dict(self) -> dict[str, object]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.value = state["value"]


def _more_channels() -> nn.Module:
    network = model.build(Config())
    network[0] = nn.Conv2d(1, 33, 3)  # type: ignore[operator]
    return network


def _one_layer_more() -> nn.Module:
    return nn.Sequential(*model.build(Config()).children(), nn.Linear(10, 10))


def _one_layer_less() -> nn.Module:
    return nn.Sequential(*list(model.build(Config()).children())[:-1])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (_more_channels, ["model.0.weight", "float32 (8, 1, 3, 3) in it", "float32 (33, 1, 3, 3) here"]),
        (_one_layer_more, ["model.12.weight", "absent in it"]),
        (_one_layer_less, ["model.11.weight", "absent here"]),
        (lambda: model.build(Config()).double(), ["model.0.weight", "float64"]),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_by_the_first_difference(
    build: Callable[[], nn.Module], words: list[str]
) -> None:
    tensors, rest = fresh().capture()
    other = _state_of(build())
    with pytest.raises(UsageError) as caught:
        other.restore(tensors, rest)
    assert all(word in str(caught.value) for word in ["another model", *words]), str(caught.value)


def test_a_checkpoint_of_another_optimizer_is_refused() -> None:
    state = fresh()
    optimizer = state.tracked["optimizer"]
    assert isinstance(optimizer, torch.optim.Optimizer)
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    tensors, rest = state.capture()
    with pytest.raises(UsageError, match="another optimizer"):
        fresh().restore(tensors, rest)


def _state_of(network: nn.Module) -> TrainingState:
    return fresh(network=network)


def changed(rest: bytes, path: str, value: object) -> bytes:
    values = place = json.loads(rest)
    *folders, name = path.split(".")
    for folder in folders:
        place = place[folder]
    place[name] = value
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model", None),
        ("session.counters", [1]),
        ("session.counters.no_such_counter", 1),
        ("optimizer", {"$": "tensor", "is": "no.such.tensor"}),
        ("optimizer", {"$": "pickle", "is": "x"}),
        ("session.sums", []),
        ("session", {}),
        ("generators.python", [1]),
        ("generators.torch", {"$": "tensor", "is": "model.0.weight"}),
        ("generators", "x"),
    ],
)
def test_a_state_that_is_none_is_damage_and_no_mistake_of_the_user(path: str, value: object) -> None:
    tensors, rest = fresh().capture()
    with pytest.raises(Damaged, match="the checkpoint holds no valid state"):
        fresh().restore(tensors, changed(rest, path, value))


@pytest.mark.parametrize("rest", [b"", b"null", b"[]", b"{}", b"[" * 100_000, b"\xff"], ids=range(6))
def test_bytes_that_are_no_state_are_damage(rest: bytes) -> None:
    tensors, _ = fresh().capture()
    with pytest.raises(Damaged):
        fresh().restore(tensors, rest)
