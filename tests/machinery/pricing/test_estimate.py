"""Test the estimate against values by hand, and that more preemptions never cost less."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from spot.pricing.estimate import MTBF, Assumptions, assumptions, billed_on_spot, estimates, mtbf, seconds
from spot.pricing.quotes import Quote
from tests.machinery import samples

HOUR = timedelta(hours=1)
ASSUMED = Assumptions(mtbf=2 * HOUR, lost_work=timedelta(minutes=8))


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
    billed = billed_on_spot(timedelta(hours=8, minutes=56), ASSUMED)

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

    expected = billed_on_spot(20 * HOUR, ASSUMED)

    assert expected is not None
    assert billed / runs == pytest.approx(expected / HOUR, rel=0.02)


def test_where_preemptions_take_more_than_training_gives_it_never_ends() -> None:
    hurried = Assumptions(mtbf=timedelta(minutes=12), lost_work=ASSUMED.lost_work)
    [found] = estimates(HOUR, [quote("us-central1", 1.0, 0.1)], hurried)

    assert billed_on_spot(HOUR, hurried) is None
    assert (found.spot_usd, found.saving) == (None, None)
    assert found.on_demand_usd == pytest.approx(64 / 60)


def test_the_cost_is_the_hours_that_are_billed_with_the_disk() -> None:
    [found] = estimates(timedelta(hours=8, minutes=56), [quote("us-central1", 0.9, 0.4, disk=0.1)], ASSUMED)

    assert found.on_demand_usd == pytest.approx(9.0 * 1.0)
    assert found.spot_usd == pytest.approx(10.0 * 0.5)
    assert found.saving == pytest.approx(4 / 9)


def test_a_spot_price_near_that_on_demand_is_a_loss() -> None:
    [found] = estimates(10 * HOUR, [quote("us-central1", 1.0, 0.95)], ASSUMED)

    assert found.saving is not None
    assert found.saving == pytest.approx(1 - 0.95 / 0.9)


def test_the_cheapest_region_on_spot_comes_first() -> None:
    found = estimates(HOUR, [quote("a", 1.0, 0.5), quote("b", 3.0, 0.2), quote("c", 0.6, 0.6)], ASSUMED)

    assert [one.quote.region for one in found] == ["b", "a", "c"]


def test_what_is_assumed_comes_from_the_settings() -> None:
    policy = samples.policy(max_checkpoint_interval=timedelta(minutes=12))

    found = assumptions(policy, {"--epochs": "20"})

    assert found == Assumptions(mtbf=MTBF, lost_work=timedelta(minutes=6))
    assert assumptions(policy, {"--checkpoint-interval": "120"}, HOUR).lost_work == timedelta(minutes=1)
    assert assumptions(policy, {"--checkpoint-interval": "auto"}, HOUR).lost_work == timedelta(minutes=6)
    assert assumptions(policy, {}, HOUR).mtbf == HOUR
    assert assumptions(replace(policy, saved_share=0.75), {}, HOUR).lost_work == timedelta(minutes=1.5)


@pytest.mark.parametrize(("text", "value"), [("90", 90.0), ("auto", None), ("-1", None), ("nan", None)])
def test_a_flag_that_is_no_number_above_0_is_not_set(text: str, value: float | None) -> None:
    assert seconds({"--grace": text}, "--grace") == value
    assert seconds({"--epochs": text}, "--grace") is None
