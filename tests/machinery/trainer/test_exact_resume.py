"""Test that interruptions at any place change neither weights, metrics nor the order of samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spot.trainer.state import TrainingState
from tests.machinery.trainer.harness import Case, capture, run, start

CASES = {
    "plain": Case(arguments=("--batch-size", "8", "--epochs", "2")),
    "accumulating": Case(),
    "short last batch": Case(samples=49, arguments=("--batch-size", "32", "--accumulate", "2", "--epochs", "3")),
    "fewer samples than a batch": Case(samples=5, more=("--epochs", "4")),
    "stopping mid-epoch": Case(more=("--max-steps", "4")),
    "early stop": Case(arguments=("--batch-size", "8", "--epochs", "6", "--patience", "1")),
    "evaluating often": Case(arguments=("--batch-size", "8", "--epochs", "2", "--evaluate-every", "3")),
    "bf16": Case(more=("--precision", "bf16")),
    "clipped and averaged": Case(more=("--clip-norm", "0.5", "--ema", "0.9")),
    "another seed": Case(more=("--seed", "7")),
}

undisturbed = cache(lambda case: run(case, []))


@given(st.sampled_from(sorted(CASES)), st.lists(st.integers(0, 25), max_size=6))
def test_stops_anywhere_leave_no_trace(name: str, looks: list[int]) -> None:
    assert run(CASES[name], looks) == undisturbed(CASES[name])


def test_every_single_place_to_stop_leaves_no_trace() -> None:
    case = CASES["accumulating"]
    places = 0
    while not start(case, None, places)[1]:
        assert run(case, [places]) == undisturbed(case)
        places += 1
    assert places == 2 * case.total_steps + case.flags.epochs


def test_a_stop_at_every_place_in_turn_leaves_no_trace() -> None:
    """Each start does one step and is stopped: twice and more in every epoch."""
    case = CASES["accumulating"]
    assert run(case, [2] * 40) == undisturbed(case)


@pytest.mark.parametrize("looks", [[], [3], [4, 7]])
def test_data_workers_change_nothing(looks: list[int]) -> None:
    case = Case(more=("--workers", "2", "--epochs", "1"))
    assert run(case, looks) == undisturbed(Case(more=("--epochs", "1")))


def test_seeds_matter() -> None:
    assert undisturbed(CASES["accumulating"]).weights != undisturbed(CASES["another seed"]).weights


def test_early_stop_ends_before_the_last_epoch_with_the_best_weights() -> None:
    case = Case(arguments=("--batch-size", "8", "--epochs", "40", "--patience", "2"))
    result = undisturbed(case)
    scores = [entry["accuracy"] for entry in result.history]
    assert result.steps < case.total_steps
    best = scores.index(max(scores))
    assert best == len(scores) - 3
    session, _ = start(Case(arguments=(*case.arguments, "--max-steps", str(result.history[best]["step"]))), None, None)
    assert session.state.shipped["accuracy"] == max(scores)


def test_a_metric_that_should_be_small_does_not_stop_while_it_improves() -> None:
    case = Case(arguments=("--batch-size", "8", "--epochs", "12", "--patience", "3"), metric="loss", direction="min")
    losses = [entry["loss"] for entry in undisturbed(case).history]
    best = losses.index(min(losses))
    assert best > 2
    assert len(losses) == min(best + 4, 12)


def _forget_optimizer(state: TrainingState) -> None:
    state.tracked["optimizer"].state.clear()  # type: ignore[attr-defined]


def _forget_scheduler(state: TrainingState) -> None:
    state.tracked["scheduler"].last_epoch = 0  # type: ignore[attr-defined]


def _forget_generators(_: TrainingState) -> None:
    torch.manual_seed(99)


def _forget_offset(state: TrainingState) -> None:
    state.tracked["loader"].load_state_dict(state.tracked["loader"].state_dict() | {"offset": 0})


def _forget_batch_statistics(state: TrainingState) -> None:
    state.tracked["model"][1].reset_running_stats()  # type: ignore[index]


def _forget_average(state: TrainingState) -> None:
    state.tracked["ema"].module[0].weight.data.zero_()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "forget",
    [
        _forget_optimizer,
        _forget_scheduler,
        _forget_generators,
        _forget_offset,
        _forget_batch_statistics,
        _forget_average,
    ],
)
def test_forgetting_any_part_of_the_state_would_show(forget: Callable[[TrainingState], Any]) -> None:
    """The control: these comparisons do notice."""
    case = CASES["clipped and averaged"]
    session, ended = start(case, None, 3)
    assert not ended
    assert session.steps % case.steps_per_epoch
    forget(session.state)
    resumed, ended = start(case, capture(session.state), None)
    assert ended
    assert resumed.result != undisturbed(case)
