"""Test that the optimum is the least cost: no plan costs less, and one plan costs as much."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.policy_optimum import Start, Way, least_cost


@dataclass(frozen=True, slots=True)
class Job:
    way: int
    got: int
    """The minute at which it got its machine."""


DEADLINE = 9
LENGTHS = st.tuples(st.integers(1, 2), st.integers(0, 2))


@st.composite
def ways(draw: st.DrawFn) -> tuple[Way, ...]:
    """On-demand that is always there, and one or two regions of spot with holes."""
    made = [_way(draw, usd=10, capacity=[True] * DEADLINE)]
    for _ in range(draw(st.integers(1, 2))):
        capacity = draw(st.lists(st.booleans(), min_size=DEADLINE, max_size=DEADLINE))
        made.append(_way(draw, usd=draw(st.integers(1, 9)), capacity=capacity))
    return tuple(made)


def _way(draw: st.DrawFn, *, usd: int, capacity: list[bool]) -> Way:
    starts: list[Start | None] = []
    for minute in range(DEADLINE):
        wait, restore = draw(LENGTHS)
        ready = minute + wait + restore
        starts.append(Start(ready=ready, billed=restore) if all(capacity[minute:ready]) else None)
    return Way(usd_per_minute=usd, has_capacity=capacity, starts=starts)


def by_trying(ways: tuple[Way, ...], most_work: int) -> list[float]:
    """Minute by minute, every job that can be asked for and every one that can be cancelled."""

    @cache
    def best(minute: int, work: int, holder: Job | None, standby: Job | None) -> float:
        if work == 0:
            return 0.0
        if minute == DEADLINE:
            return math.inf
        return min(pass_minute(minute, work, *held) for held in choices(minute, holder, standby))

    def choices(minute: int, holder: Job | None, standby: Job | None) -> Iterator[tuple[Job | None, Job | None]]:
        """What may be held for the next minute."""
        asked = [Job(number, minute) for number, way in enumerate(ways) if way.starts[minute]]
        for left in {(holder, standby), (holder, None), (standby, None), (None, None)}:
            yield left
            for job in asked:
                if left == (None, None):
                    yield job, None
                    yield from ((job, other) for other in asked)
                elif left[1] is None:
                    yield left[0], job

    def pass_minute(minute: int, work: int, holder: Job | None, standby: Job | None) -> float:
        usd, done = 0.0, 0
        for job in (holder, standby):
            if job is None or (start := ways[job.way].starts[job.got]) is None:
                continue
            if minute >= start.ready - start.billed:
                usd += ways[job.way].usd_per_minute
            if job is holder and minute >= start.ready:
                done = 1
        first, second, *_ = *(job for job in (holder, standby) if job and stays(job, minute + 1)), None, None
        return usd + best(minute + 1, work - done, first, second)

    def stays(job: Job, minute: int) -> bool:
        return minute == DEADLINE or ways[job.way].has_capacity[minute]

    return [best(0, work, None, None) for work in range(most_work + 1)]


def by_planning(ways: tuple[Way, ...], most_work: int) -> list[float]:
    """Every way to share out the minutes among machines, as many of which are made ready at a time as that takes."""

    @cache
    def best(minute: int, work: int) -> float:
        if work == 0 or minute == DEADLINE:
            return math.inf if work else 0.0
        return min(best(minute + 1, work), *stretches(minute, work))

    def stretches(minute: int, work: int) -> Iterator[float]:
        yield math.inf
        for way in ways:
            for start in way.starts:
                most = min(work, DEADLINE - minute) if start and start.ready == minute else 0
                for length in range(1, most + 1):
                    if start and all(way.has_capacity[minute : minute + length]):
                        yield (start.billed + length) * way.usd_per_minute + best(minute + length, work - length)

    return [best(0, work) for work in range(most_work + 1)]


@settings(max_examples=25, deadline=None)
@given(ways=ways())
def test_nothing_that_is_tried_at_any_minute_with_two_machines_at_a_time_costs_less(ways: tuple[Way, ...]) -> None:
    costs = least_cost(ways, deadline=DEADLINE, most_work=4)
    assert all(costs <= by_trying(ways, most_work=4))


@settings(deadline=None)
@given(ways=ways())
def test_it_is_what_the_best_plan_costs(ways: tuple[Way, ...]) -> None:
    costs = least_cost(ways, deadline=DEADLINE, most_work=4)
    assert by_planning(ways, most_work=4) == pytest.approx(list(costs))
