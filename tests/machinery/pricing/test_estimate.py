"""Test the estimate against values by hand, and that more preemptions never cost less."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from spot.pricing.estimate import MTBF, billed_on_spot, estimates, lost_work, mtbf, seconds
from spot.pricing.quotes import Quote
from tests.machinery import samples

HOUR = timedelta(hours=1)
MEAN, LOST = 2 * HOUR, timedelta(minutes=8)


def quote(region: str, on_demand: float, spot: float, disk: float = 0.0) -> Quote:
    return Quote(
        region=region,
        on_demand=on_demand,
        spot=spot,
        flex_start=None,
        disk=disk,
        dated=None,
    )


def test_the_first_preemption_among_the_machines_ends_an_attempt() -> None:
    assert mtbf(samples.SPEC.machine) == MTBF
    assert mtbf(replace(samples.SPEC.machine, count=4), 2 * HOUR) == HOUR / 2


def test_a_preemption_costs_a_restore_and_half_an_interval_of_checkpoints() -> None:
    billed = billed_on_spot(timedelta(hours=8, minutes=56), MEAN, LOST)

    assert billed is not None
    assert billed / HOUR == pytest.approx(10)  # 9 h with the first restore, 12 min lost in each 2 h


def test_the_expectation_is_that_of_runs_that_are_preempted_at_random() -> None:
    draw, runs = random.Random(5), 400
    billed = 0.0
    for _ in range(runs):
        work, alive = 20.0, draw.expovariate(1 / 2)
        while True:
            needed = 4 / 60 + work  # restored first
            if alive >= needed:
                billed += needed
                break
            billed += alive
            work -= max(alive - 4 / 60 - draw.uniform(0, 16 / 60), 0)
            alive = draw.expovariate(1 / 2)

    expected = billed_on_spot(20 * HOUR, MEAN, LOST)

    assert expected is not None
    assert billed / runs == pytest.approx(expected / HOUR, rel=0.02)


def test_where_preemptions_take_more_than_training_gives_it_never_ends() -> None:
    endless = billed_on_spot(HOUR, timedelta(minutes=12), LOST)
    [found] = estimates(HOUR, [quote("us-central1", 1.0, 0.1)], endless)

    assert endless is None
    assert (found.spot_usd, found.saving) == (None, None)
    assert found.on_demand_usd == pytest.approx(64 / 60)


def test_the_cost_is_the_hours_that_are_billed_with_the_disk() -> None:
    work = timedelta(hours=8, minutes=56)
    [found] = estimates(work, [quote("us-central1", 0.9, 0.4, disk=0.1)], billed_on_spot(work, MEAN, LOST))

    assert found.on_demand_usd == pytest.approx(9.0 * 1.0)
    assert found.spot_usd == pytest.approx(10.0 * 0.5)
    assert found.saving == pytest.approx(4 / 9)


def test_a_spot_price_near_that_on_demand_is_a_loss() -> None:
    [found] = estimates(10 * HOUR, [quote("us-central1", 1.0, 0.95)], billed_on_spot(10 * HOUR, MEAN, LOST))

    assert found.saving is not None
    assert found.saving == pytest.approx(1 - 0.95 / 0.9)


def test_the_cheapest_region_on_spot_comes_first() -> None:
    found = estimates(HOUR, [quote("a", 1.0, 0.5), quote("b", 3.0, 0.2), quote("c", 0.6, 0.6)], HOUR)

    assert [one.quote.region for one in found] == ["b", "a", "c"]


def test_what_is_assumed_comes_from_the_settings() -> None:
    policy = samples.policy(max_checkpoint_interval=timedelta(minutes=12))

    assert lost_work(policy, {"--epochs": "20"}) == timedelta(minutes=6)
    assert lost_work(policy, {"--checkpoint-interval": "120"}) == timedelta(minutes=1)
    assert lost_work(policy, {"--checkpoint-interval": "auto"}) == timedelta(minutes=6)
    assert lost_work(replace(policy, saved_share=0.75), {}) == timedelta(minutes=1.5)


@pytest.mark.parametrize(("text", "value"), [("90", 90.0), ("auto", None), ("-1", None), ("nan", None)])
def test_a_flag_that_is_no_number_above_0_is_not_set(text: str, value: float | None) -> None:
    assert seconds({"--grace": text}, "--grace") == value
    assert seconds({"--epochs": text}, "--grace") is None
