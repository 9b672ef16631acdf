"""Test that interruptions at any place change neither weights, metrics nor the order of samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from spot.trainer.state import TrainingState
from tests.machinery.trainer.harness import Case, Result, StopAfter, advance, carried_over, fresh, run

CASES = {
    "plain": Case(accumulate=1),
    "accumulating": Case(),
    "short last batch": Case(samples=49, batch_size=16, accumulate=2, epochs=3),
    "fewer samples than a batch": Case(samples=5, epochs=4),
    "stopping mid-epoch": Case(max_steps=4),
    "early stop": Case(epochs=6, patience=1, accumulate=1),
    "mixed precision": Case(mixed=True),
    "another seed": Case(seed=7),
}

undisturbed = cache(lambda case: run(case, []))


@pytest.mark.processes
@settings(max_examples=40)
@given(st.sampled_from(sorted(CASES)), st.lists(st.integers(0, 25), max_size=6))
def test_stops_anywhere_leave_no_trace(name: str, looks: list[int]) -> None:
    assert run(CASES[name], looks) == undisturbed(CASES[name])


def test_every_single_place_to_stop_leaves_no_trace() -> None:
    case = CASES["accumulating"]
    places = 0
    while not advance(fresh(case), case, StopAfter(places)):
        assert run(case, [places]) == undisturbed(case)
        places += 1
    batches = case.epochs * -(-case.samples // case.batch_size)
    assert places == 2 * batches + case.epochs


def test_a_stop_at_every_place_in_turn_leaves_no_trace() -> None:
    """Each start does one batch and is stopped: twice and more in every epoch, and within accumulated steps."""
    case = CASES["accumulating"]
    assert run(case, [2] * 40) == undisturbed(case)


@pytest.mark.parametrize("looks", [[], [3], [4, 7]])
def test_data_workers_change_nothing(looks: list[int]) -> None:
    case = Case(workers=2, epochs=1)
    assert run(case, looks) == undisturbed(Case(epochs=1))


def test_seeds_matter() -> None:
    assert undisturbed(CASES["accumulating"]).weights != undisturbed(CASES["another seed"]).weights


def test_early_stop_ends_before_the_last_epoch_with_the_best_weights() -> None:
    case = Case(epochs=40, patience=2, accumulate=1)
    result = undisturbed(case)
    scores = [entry["accuracy"] for entry in result.history]
    assert result.steps < case.plan.total_steps
    assert scores.index(max(scores)) == len(scores) - 3
    state = fresh(case)
    while state.counters.best_score != max(scores):
        assert not advance(state, case, StopAfter(1))
    assert _result(state).weights == result.weights


def _forget_optimizer(state: TrainingState) -> None:
    state.optimizer.state.clear()


def _forget_scheduler(state: TrainingState) -> None:
    state.scheduler.last_epoch = 0


def _forget_generators(_: TrainingState) -> None:
    torch.manual_seed(99)


def _forget_offset(state: TrainingState) -> None:
    state.counters.offset = 0


def _forget_gradients(state: TrainingState) -> None:
    state.optimizer.zero_grad()


def _forget_batch_statistics(state: TrainingState) -> None:
    state.model[1].reset_running_stats()  # type: ignore[index]


def _forget_scale(state: TrainingState) -> None:
    state.scaler.load_state_dict({**state.scaler.state_dict(), "_growth_tracker": 0, "scale": 2.0**14})


@pytest.mark.parametrize(
    "forget",
    [
        _forget_optimizer,
        _forget_scheduler,
        _forget_generators,
        _forget_offset,
        _forget_gradients,
        _forget_batch_statistics,
        _forget_scale,
    ],
)
def test_forgetting_any_part_of_the_state_would_show(forget: Callable[[TrainingState], Any]) -> None:
    """The control: these comparisons do notice."""
    case = CASES["mixed precision"]
    state = fresh(case)
    assert not advance(state, case, StopAfter(9))
    assert state.counters.offset % case.plan.step_size
    state = carried_over(state, case)
    forget(state)
    assert advance(state, case, StopAfter(None))
    assert _result(state) != undisturbed(case)


def _result(state: TrainingState) -> Result:
    return Result(
        weights=save(dict(state.final_weights())),
        history=state.counters.history,
        order_digest=state.counters.order_digest,
        steps=state.step,
    )
