"""Test that ranks decide alike at the same steps, and seldom ask each other where steps are short."""

from __future__ import annotations

import signal
from functools import partial

import pytest

from spot.trainer.distributed.ballot import EVERY_S, Ballot
from spot.trainer.distributed.group import ALONE, NOTHING, Group, Vote
from spot.trainer.metrics import means, parse_metrics, per_sample
from spot.trainer.runtime.errors import Stopped
from spot.trainer.runtime.signals import StopSignal
from tests.machinery.clocks import ManualClock
from tests.machinery.trainer.thread_group import on_ranks

STEPS = 2000


def steps(group: Group, step_s: float, *, told: int, at: int) -> tuple[int, int, float]:
    """Train until a stop that rank `told` is told `at` a step. Return the last step, the votes, and the grace left."""
    clock, asked = ManualClock(), 0
    stop = StopSignal(clock)
    ballot = Ballot(group, stop, clock)
    ballot.begin(100)

    def wishes() -> Vote:
        nonlocal asked
        asked += 1
        return NOTHING

    for step in range(101, 101 + STEPS):
        clock.sleep(step_s)
        if step == at and group.rank == told:
            stop._request(signal.SIGTERM)
        ballot.at_step(step, wishes, last=step == 100 + STEPS)
        if stop.requested:
            return step, asked, round(stop.remaining_s(), 6)
    return 100 + STEPS, asked, stop.remaining_s()


@pytest.mark.parametrize("told", [0, 2])
@pytest.mark.parametrize("step_s", [0.001, 0.03, 2.0])
def test_all_ranks_stop_at_the_same_step_soon_after_one_was_told(step_s: float, told: int) -> None:
    found = on_ranks(3, lambda group: steps(group, step_s, told=told, at=1000))
    assert len(set(found)) == 1, found
    step, _, remaining_s = found[0]
    assert 1000 <= step <= 1000 + max(EVERY_S / step_s, 1)
    assert remaining_s >= 15 * 0.95 - EVERY_S - step_s


def test_votes_are_a_tenth_of_a_second_apart_where_steps_are_short() -> None:
    step, asked, _ = on_ranks(2, lambda group: steps(group, 0.001, told=0, at=0))[0]
    assert step == 100 + STEPS, "nobody was told"
    assert asked <= STEPS * 0.001 / EVERY_S + 3


def test_what_any_rank_wishes_is_decided_on_all() -> None:
    def decide(group: Group) -> list[Vote]:
        clock = ManualClock()
        ballot = Ballot(group, StopSignal(clock), clock)
        ballot.begin(0)
        wished = [Vote.SAVE if group.rank == 0 else NOTHING, Vote.FAILED if group.rank == 1 else NOTHING]
        found = []
        for step, wish in enumerate(wished, 1):
            clock.sleep(1.0)
            found.append(ballot.at_step(step, partial(Vote, wish), last=False))
        return found

    assert on_ranks(2, decide) == [[Vote.SAVE, Vote.FAILED]] * 2


def test_a_signal_is_no_stop_before_the_ranks_agreed_and_one_in_an_evaluation_stops_all() -> None:
    def evaluate(group: Group) -> str:
        stop = StopSignal(clock := ManualClock())
        ballot = Ballot(group, stop, clock)
        ballot.begin(0)
        if group.rank == 1:
            stop._request(signal.SIGTERM)
        stop.check()
        with pytest.raises(Stopped):
            ballot.check()
        return "stopped"

    assert on_ranks(2, evaluate) == ["stopped"] * 2


def test_a_single_rank_decides_alone() -> None:
    stop = StopSignal(clock := ManualClock())
    ballot = Ballot(ALONE, stop, clock)
    ballot.begin(0)
    assert ballot.at_step(1, lambda: Vote.SAVE, last=False) == Vote.SAVE
    stop._request(signal.SIGTERM)
    assert stop.requested


@pytest.mark.parametrize("world", [1, 2, 3])
def test_an_evaluation_is_the_same_on_any_number_of_ranks(world: int) -> None:
    """Each rank evaluates its part of two batches of 4 and 3 samples; repetitions do not count."""
    import torch

    batches = [torch.tensor([0.1, 0.7, 0.4, 1e9]), torch.tensor([0.3, 5.0, -2.0])]

    def evaluate(group: Group) -> dict[str, float]:
        found: dict[str, list[torch.Tensor]] = {"loss": [], "plain": []}
        for batch in batches:
            size = -(-len(batch) // group.world)
            own = torch.cat([batch, batch])[group.rank * size : (group.rank + 1) * size]
            weight = (own < 1e6).double()
            count = len(batch) if group.world > 1 else None
            for name, samples in per_sample({"loss": (own, weight), "plain": own.abs().sqrt()}, group, count).items():
                found[name].append(samples)
        return means(
            {name: torch.cat(samples, dim=1) for name, samples in found.items()}, parse_metrics({"loss": "exp min"})
        )

    expected = on_ranks(1, evaluate)[0]
    assert on_ranks(world, evaluate) == [expected] * world
