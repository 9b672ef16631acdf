"""Test the counts of steps, epochs and patience, and that the state of another model is refused."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from spot.storage.base import Damaged
from spot.trainer.runtime.errors import UsageError
from spot.trainer.state import TrainingPlan, TrainingState
from tests.machinery.fixture_task import model
from tests.machinery.trainer.harness import Case, fresh

plans = st.builds(
    TrainingPlan,
    samples=st.integers(1, 50),
    batch_size=st.integers(1, 9),
    accumulate=st.integers(1, 4),
    epochs=st.integers(1, 4),
    max_steps=st.none() | st.integers(1, 30),
)


@given(plans)
def test_counting_batches_ends_at_the_planned_total(plan: TrainingPlan) -> None:
    state = fresh(Case())
    state.plan = plan
    consumed, evaluations, expected = 0, 0, state.evaluations_left
    while not state.finished:
        size = min(plan.batch_size, plan.samples - state.counters.offset)
        consumed += size
        if state.consumed([0] * size, torch.tensor(0.5)):
            state.stepped()
            if state.evaluation_due:
                state.evaluated(0.5, 1.0, 0.5)
                evaluations += 1
                assert state.evaluations_left == expected - evaluations
    assert (state.evaluations_left, state.evaluation_seconds) == (0, evaluations / 2)
    assert state.step == plan.total_steps
    if plan.max_steps is None:
        assert (consumed, evaluations) == (plan.epochs * plan.samples, plan.epochs)
        assert state.counters.offset == 0


def test_the_train_loss_of_an_evaluation_is_the_mean_over_samples_since_the_last() -> None:
    state = fresh(Case())
    state.consumed([1], torch.tensor(4.0))
    state.consumed([2, 3, 4], torch.tensor(0.0))
    state.evaluated(0.1, 9.0, 0.5)
    state.consumed([5], torch.tensor(7.0))
    state.evaluated(0.1, 9.0, 0.5)
    assert [entry["train_loss"] for entry in state.counters.history] == [1.0, 7.0]


def test_patience_counts_evaluations_without_a_better_one() -> None:
    state = fresh(Case(patience=2))
    for score, out in ((0.5, False), (0.5, False), (0.6, False), (0.4, False), (0.6, True)):
        state.evaluated(score, 1.0, 0.5)
        assert state.out_of_patience == out


def test_a_score_that_is_no_number_is_never_the_best() -> None:
    state = fresh(Case(patience=1))
    assert not state.evaluated(float("nan"), 1.0, 0.5)
    assert state.evaluated(0.1, float("inf"), 0.5)
    assert not state.evaluated(float("nan"), 1.0, 0.5)
    assert state.counters.best_score == 0.1
    assert state.describe()["score"] is None
    json.dumps(state.describe(), allow_nan=False)


def _more_channels() -> nn.Module:
    network = model.build()
    network[0] = nn.Conv2d(1, 33, 3)  # type: ignore[operator]
    return network


def _one_layer_more() -> nn.Module:
    return nn.Sequential(*model.build().children(), nn.Linear(10, 10))


def _one_layer_less() -> nn.Module:
    return nn.Sequential(*list(model.build().children())[:-1])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (_more_channels, ["model.0.weight", "float32 (8, 1, 3, 3) in it", "float32 (33, 1, 3, 3) here"]),
        (_one_layer_more, ["model.12.weight", "absent in it"]),
        (_one_layer_less, ["model.11.weight", "absent here"]),
        (lambda: model.build().double(), ["model.0.weight", "float64"]),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_by_the_first_difference(
    build: Callable[[], nn.Module], words: list[str]
) -> None:
    tensors, rest = fresh(Case()).capture()
    other = _state_of(build())
    with pytest.raises(UsageError) as caught:
        other.restore(tensors, rest)
    assert all(word in str(caught.value) for word in ["another model", *words]), str(caught.value)


def test_a_checkpoint_of_another_optimizer_is_refused() -> None:
    state = fresh(Case())
    state.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    tensors, rest = state.capture()
    with pytest.raises(UsageError, match="another model or optimizer"):
        fresh(Case()).restore(tensors, rest)


def _state_of(network: nn.Module) -> TrainingState:
    state = fresh(Case())
    state.model = network
    state.optimizer, state.scheduler = model.build_optimizer(network, 0.01, 10)
    return state


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
        ("counters", [1]),
        ("counters.no_such_counter", 1),
        ("optimizer", {"$": "tensor", "is": "no.such.tensor"}),
        ("optimizer", {"$": "pickle", "is": "x"}),
        ("gradients", []),
        ("loss", {}),
        ("generators.python", [1]),
        ("generators.torch", {"$": "tensor", "is": "model.0.weight"}),
        ("generators", "x"),
    ],
)
def test_a_state_that_is_none_is_damage_and_no_mistake_of_the_user(path: str, value: object) -> None:
    tensors, rest = fresh(Case()).capture()
    with pytest.raises(Damaged, match="the checkpoint holds no valid state"):
        fresh(Case()).restore(tensors, changed(rest, path, value))


@pytest.mark.parametrize("rest", [b"", b"null", b"[]", b"{}", b"[" * 100_000, b"\xff"], ids=range(6))
def test_bytes_that_are_no_state_are_damage(rest: bytes) -> None:
    tensors, _ = fresh(Case()).capture()
    with pytest.raises(Damaged):
        fresh(Case()).restore(tensors, rest)
