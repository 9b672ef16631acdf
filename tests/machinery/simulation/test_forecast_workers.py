"""How many processes play the replays makes no difference to what comes out."""

from __future__ import annotations

import multiprocessing
import time
from datetime import timedelta

import pytest

from spot.simulation.cloud import ReplayError
from spot.simulation.forecast import Case, Forecast
from spot.simulation.forecast_workers import CHUNK, NOT_WORTH_IT, forecasts
from spot.simulation.startup_times import Starts, StartupTimes, drawn
from spot.simulation.traces import shipped
from spot.simulation.windows import Windows, windows
from tests.machinery import samples

REGION = "us-central1"
CASES = [
    Case(
        label=str(work),
        run=samples.run(regions=(REGION,), work=timedelta(hours=work), reconcile_interval=timedelta(minutes=15)),
    )
    for work in (4, 8)
]


def world(regions: tuple[str, ...] = (REGION,)) -> tuple[Windows, StartupTimes]:
    return windows(shipped(), regions, 1, 24 * 60), drawn(Starts(), regions, seed=0)


def found(number: int) -> tuple[list[Forecast], int]:
    told: list[int] = []
    where, luck = world()
    return forecasts(CASES, where, luck, where.drawn(number, seed=1), told.append), sum(told)


def test_each_case_gets_its_own_replays_and_all_are_told_of() -> None:
    made, told = found(10)
    assert [one.case.label for one in made] == ["4", "8"]
    assert told == 2 * 3 * 10
    assert made[0].on_demand.mean_usd == pytest.approx(4, abs=0.2)
    assert made[1].on_demand.mean_usd == pytest.approx(8, abs=0.2)


def test_what_a_policy_asks_for_in_vain_is_an_error_and_no_number() -> None:
    where, luck = world(("us-east4",))
    with pytest.raises(ReplayError, match="nothing is known of spot in 'us-central1'"):
        forecasts(CASES, where, luck, [0], lambda _: None)


@pytest.mark.processes
def test_many_processes_find_the_same_as_one() -> None:
    number = max(NOT_WORTH_IT // 6, CHUNK) + 20
    made, told = found(number)
    assert told == 6 * number
    where, luck = world()
    starts = where.drawn(number, seed=1)
    halves = [forecasts(CASES, where, luck, part, lambda _: None) for part in (starts[:30], starts[30:60])]
    for index, one in enumerate(made):
        assert one.ours.samples[:60] == halves[0][index].ours.samples + halves[1][index].ours.samples


@pytest.mark.processes
def test_an_interrupt_ends_all_processes_at_once() -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    where, luck = world()
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        forecasts(CASES, where, luck, where.drawn(20_000, seed=1), interrupted)
    assert time.monotonic() - before < 20, "all of it takes minutes"
    assert multiprocessing.active_children() == []
