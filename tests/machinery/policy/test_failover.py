"""Test the next attempt: its provisioning, its region, and the pause before it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from spot.core.actions import Action, Close, Submit, Wait
from spot.core.history import Cancel, CancelReason
from spot.core.job import JobError
from spot.core.run import Attempt, Outcome, Provisioning, Run, RunState, Strategy
from spot.policy.failover import next_attempt
from spot.policy.offers import Offers
from spot.policy.slack import LONGEST, Slack
from tests.machinery.samples import T0, after, ended, no_quota, run, seen

C1, E4 = "us-central1", "us-east4"
SPOT, FLEX, ON_DEMAND = Provisioning.SPOT, Provisioning.FLEX_START, Provisioning.ON_DEMAND


def then(run: Run, now: datetime, done: float | None = None) -> Action:
    found = seen(done)
    slack = Slack.of(run, found, now)
    return next_attempt(run, Offers.of(run, slack), slack)


def submitted(run: Run, now: datetime = T0, done: float | None = None) -> tuple[Provisioning, str]:
    action = then(run, now, done)
    assert isinstance(action, Submit), action
    return action.provisioning, action.region


def waits_until(run: Run, now: datetime) -> datetime | None:
    action = then(run, now)
    assert isinstance(action, Wait), action
    return action.until


def closed(run: Run, now: datetime = T0) -> str:
    action = then(run, now)
    assert isinstance(action, Close), action
    assert action.state is RunState.FAILED
    return action.reason


def vain(region: str, at: datetime = T0, provisioning: Provisioning = SPOT) -> Attempt:
    """Return an attempt whose create was refused."""
    return ended(Outcome.NO_CAPACITY, region=region, at=at, intended_at=at, provisioning=provisioning)


def rounds(count: int, at: datetime) -> list[Attempt]:
    return [vain(region, at) for _ in range(count) for region in (C1, E4)]


def preempted(region: str = C1, **changes: Any) -> Attempt:
    return ended(Outcome.PREEMPTED, region=region, started_at=T0, advanced_at=T0, **changes)


def refused(provisioning: Provisioning, region: str) -> Attempt:
    return ended(Outcome.QUOTA, provisioning=provisioning, region=region, error=no_quota(provisioning))


NO_ON_DEMAND = (refused(ON_DEMAND, C1), refused(ON_DEMAND, E4))
NO_SPOT = (refused(SPOT, C1), refused(SPOT, E4))


def test_the_first_attempt_is_spot_in_the_first_region() -> None:
    action = then(run(), T0)
    assert action == Submit(
        reason="slack 14.0 h, latest on-demand start 2026-11-24 13:07 UTC",
        provisioning=SPOT,
        region=C1,
        timeout=timedelta(days=7),
    )


def test_regions_are_tried_in_turn_without_a_pause() -> None:
    assert submitted(run(vain(C1))) == (SPOT, E4)
    three = ("us-central1", "us-east4", "europe-west4")
    assert submitted(run(vain(C1), vain(E4), regions=three)) == (SPOT, "europe-west4")


@pytest.mark.parametrize(("count", "minutes"), [(1, 5), (2, 10), (3, 15), (4, 15), (9, 15)])
def test_after_a_round_without_capacity_there_is_a_pause(count: int, minutes: int) -> None:
    tried = run(*rounds(count, after(hours=1)))
    over = after(hours=1, minutes=minutes)
    assert waits_until(tried, over - timedelta(seconds=1)) == over
    assert submitted(tried, over) == (SPOT, C1)


def test_time_spent_waiting_for_a_machine_counts_as_the_pause() -> None:
    waited = [replace(vain(region, T0), ended_at=after(minutes=20)) for region in (C1, E4)]
    assert submitted(run(*waited), after(minutes=20)) == (SPOT, C1)


def test_an_attempt_with_progress_resets_the_rounds() -> None:
    tried = [*rounds(3, T0), preempted(E4)]
    assert submitted(run(*tried)) == (SPOT, C1)
    assert waits_until(run(*tried, *rounds(1, T0)), T0) == after(minutes=5)


@pytest.mark.parametrize("outcome", [Outcome.INTERNAL, Outcome.UNKNOWN, Outcome.EXPIRED])
def test_after_an_unexplained_failure_the_next_region_is_tried(outcome: Outcome) -> None:
    assert submitted(run(ended(outcome, region=C1))) == (SPOT, E4)


@pytest.mark.parametrize(("kind", "now"), [(SPOT, T0), (ON_DEMAND, after(hours=20))])
def test_a_lost_create_is_repeated_once_in_its_region(kind: Provisioning, now: datetime) -> None:
    here = ended(Outcome.UNKNOWN, job=None, provisioning=kind)
    there = replace(here, region=E4)
    assert submitted(run(here), now) == (kind, C1)
    assert submitted(run(here, here), now) == (kind, E4)
    assert submitted(run(here, here, there), now) == (kind, E4)
    assert submitted(run(here, here, there, there), now + timedelta(minutes=5)) == (kind, C1)
    assert submitted(run(vain(C1, provisioning=kind), there), now) == (kind, E4)


def test_a_region_without_spot_quota_is_left_out_without_a_pause() -> None:
    assert submitted(run(refused(SPOT, C1))) == (SPOT, E4)
    assert waits_until(run(refused(SPOT, C1), vain(E4)), T0) == after(minutes=5)
    assert submitted(run(refused(SPOT, C1), vain(E4)), after(minutes=5)) == (SPOT, E4)


def test_without_spot_quota_in_any_region_on_demand_starts_at_once() -> None:
    assert submitted(run(*NO_SPOT)) == (ON_DEMAND, C1)


def test_a_refusal_of_flex_start_counts_for_spot_and_not_for_on_demand() -> None:
    assert submitted(run(refused(FLEX, C1), flex_start=True)) == (SPOT, E4)
    assert submitted(run(refused(FLEX, C1), strategy=Strategy.ON_DEMAND)) == (ON_DEMAND, C1)


def test_a_run_without_quota_in_any_region_is_closed_and_names_the_metric() -> None:
    metric = "aiplatform.googleapis.com/custom_model_training_preemptible_nvidia_l4_gpus"
    reason = closed(run(*NO_SPOT, *NO_ON_DEMAND))
    assert "us-central1: " in reason
    assert metric.replace("preemptible_", "") in reason
    assert metric in closed(run(*NO_SPOT, strategy=Strategy.SPOT))


def test_flex_start_comes_after_each_round_once() -> None:
    tried = [vain(C1), vain(E4)]
    assert submitted(run(*tried, flex_start=True)) == (FLEX, C1)
    tried.append(ended(Outcome.EXPIRED, provisioning=FLEX))
    assert waits_until(run(*tried, flex_start=True), T0) == after(minutes=5)
    tried += rounds(1, T0)
    assert submitted(run(*tried, flex_start=True)) == (FLEX, E4)


def test_flex_start_is_not_tried_without_time_to_wait_for_it() -> None:
    """10 h of work, 53 min of margin, 24 min of start and 20 min of waiting; a reserve would start on-demand before."""
    enough = after(hours=24 - 10, minutes=-(53 + 24 + 20))
    tried = run(vain(C1, enough), vain(E4, enough), flex_start=True, reserve=timedelta())
    assert submitted(tried, enough) == (FLEX, C1)
    assert isinstance(then(tried, enough + timedelta(seconds=1)), Wait)


def test_on_demand_that_was_lost_is_followed_by_spot_while_there_is_time() -> None:
    begun = ended(Outcome.INTERNAL, provisioning=ON_DEMAND, started_at=T0, advanced_at=T0)
    assert submitted(run(begun)) == (SPOT, C1)


def test_the_cheapest_region_is_tried_first_and_equals_in_the_stated_order() -> None:
    assert submitted(run(regions=(E4, C1))) == (SPOT, C1)
    assert submitted(run(regions=(E4, C1), usd_per_hour={})) == (SPOT, E4)


def test_on_demand_tries_each_region_and_pauses_for_five_minutes_after_each_round() -> None:
    tried = [vain(C1, provisioning=ON_DEMAND)]
    assert submitted(run(*tried, strategy=Strategy.ON_DEMAND)) == (ON_DEMAND, E4)
    tried.append(vain(E4, provisioning=ON_DEMAND))
    for _ in range(3):
        assert waits_until(run(*tried, strategy=Strategy.ON_DEMAND), T0) == after(minutes=5)
        assert submitted(run(*tried, strategy=Strategy.ON_DEMAND), after(minutes=5)) == (ON_DEMAND, C1)
        tried += tried[:2]


def test_on_demand_leaves_out_a_region_that_refused_it() -> None:
    assert submitted(run(refused(ON_DEMAND, C1), strategy=Strategy.ON_DEMAND)) == (ON_DEMAND, E4)


def test_the_late_start_is_a_reserve_before_the_latest_on_demand_start() -> None:
    late = after(hours=24 - 10, minutes=-(53 + 60 + 18))
    assert submitted(run(), late - timedelta(seconds=1))[0] is SPOT
    action = then(run(), late)
    assert isinstance(action, Submit)
    assert action.provisioning is ON_DEMAND
    assert action.reason == "slack 2.2 h: on-demand starts with 78 min in reserve for a hand-over back to spot"


def test_on_demand_starts_at_its_latest_start() -> None:
    """Without a reserve that is 10 h of work and 53 min before the deadline."""
    line = after(hours=24 - 10, minutes=-53)
    action = then(run(reserve=timedelta()), line)
    assert isinstance(action, Submit)
    assert action.provisioning is ON_DEMAND
    assert action.reason == "slack 53 min, latest on-demand start 2026-11-24 13:07 UTC"


def test_no_spot_is_started_whose_start_reaches_the_latest_on_demand_start() -> None:
    """A start takes 24 min."""
    last = after(hours=24 - 10, minutes=-(53 + 24))
    assert submitted(run(reserve=timedelta()), last)[0] is SPOT
    action = then(run(reserve=timedelta()), last + timedelta(seconds=1))
    assert isinstance(action, Submit)
    assert action.provisioning is ON_DEMAND
    assert action.reason == "slack 77 min: a spot start would end past the latest on-demand start"


def test_without_on_demand_quota_spot_continues_past_the_latest_on_demand_start() -> None:
    action = then(run(*NO_ON_DEMAND), after(hours=13, minutes=30))
    assert isinstance(action, Submit)
    assert (action.provisioning, action.region) == (SPOT, C1)
    assert action.reason == "slack 30 min, no quota for on-demand"


def test_after_too_many_preemptions_on_demand_starts() -> None:
    assert submitted(run(preempted(), preempted(), max_preemptions=2))[0] is SPOT
    action = then(run(preempted(), preempted(), preempted(), max_preemptions=2), T0)
    assert isinstance(action, Submit)
    assert action.provisioning is ON_DEMAND
    assert action.reason == "3 preemptions, 2 allowed"


def test_restarts_inside_a_job_are_preemptions() -> None:
    restarted = ended(Outcome.CANCELLED, starts=4, cancel=Cancel(at=T0, why=CancelReason.NO_CAPACITY))
    assert run(restarted, preempted(starts=1)).preemptions == 4


def test_the_strategy_spot_ignores_the_deadline() -> None:
    action = then(run(strategy=Strategy.SPOT), after(hours=30))
    assert isinstance(action, Submit)
    assert (action.provisioning, action.region) == (SPOT, C1)
    assert action.reason == "slack -16.0 h"


def test_the_strategy_on_demand_never_uses_spot() -> None:
    action = then(run(strategy=Strategy.ON_DEMAND), T0)
    assert isinstance(action, Submit)
    assert (action.provisioning, action.region) == (ON_DEMAND, C1)
    assert action.reason == "slack 14.0 h, the strategy is on-demand"


@pytest.mark.parametrize(
    ("budget", "strategy", "timeout"),
    [
        pytest.param(None, Strategy.SPOT, LONGEST, id="none"),
        pytest.param(5.0, Strategy.SPOT, timedelta(hours=10), id="spot at 0.50 an hour"),
        pytest.param(5.0, Strategy.ON_DEMAND, timedelta(hours=5), id="on-demand at 1.00 an hour"),
        pytest.param(1000.0, Strategy.SPOT, LONGEST, id="more than a job may last"),
        pytest.param(0.05, Strategy.SPOT, timedelta(minutes=6), id="just enough for 6 minutes"),
    ],
)
def test_a_job_may_last_as_long_as_the_budget_pays_for(
    budget: float | None, strategy: Strategy, timeout: timedelta
) -> None:
    action = then(run(strategy=strategy, budget_usd=budget), T0)
    assert isinstance(action, Submit)
    assert action.timeout == timeout


def test_spent_money_shortens_the_next_job() -> None:
    spent = preempted(at=after(hours=4))  # 4 hours of spot, $2
    action = then(run(spent, budget_usd=5.0), after(hours=4))
    assert isinstance(action, Submit)
    assert action.timeout == timedelta(hours=6)


def test_a_budget_that_pays_for_less_than_six_minutes_is_spent() -> None:
    spent = preempted(at=after(hours=4))
    assert closed(run(spent, budget_usd=2.04), after(hours=4)) == (
        "budget of $2.04 spent: $2.00 for 1 attempt; the rest pays for 5 min of spot in us-central1,"
        " and 10.0 h of work are left"
    )


def test_without_a_price_there_is_no_limit() -> None:
    action = then(run(budget_usd=1.0, usd_per_hour={}), T0)
    assert isinstance(action, Submit)
    assert action.timeout == LONGEST


REFUSED = ended(
    Outcome.REQUEST_REJECTED,
    job=None,
    region="us-east4",
    error=JobError(code=400, message="Machine type is not supported."),
)


def test_a_region_that_rejects_the_machine_is_left_out_once_another_accepted_it() -> None:
    assert submitted(run(preempted(), REFUSED), after(minutes=1)) == (SPOT, C1)
    assert submitted(run(vain(C1), REFUSED, vain(C1)), after(hours=1))[1] == C1


def test_a_region_that_rejected_one_provisioning_is_tried_with_another() -> None:
    flex = replace(REFUSED, provisioning=FLEX)
    assert submitted(run(vain(C1), vain(E4), flex, flex_start=True)) == (FLEX, C1)
    nowhere = (flex, replace(flex, region=C1))
    assert submitted(run(vain(C1), vain(E4), *nowhere, flex_start=True), after(minutes=6)) == (SPOT, C1)
    assert submitted(run(REFUSED, replace(REFUSED, region=C1)), after(hours=20)) == (ON_DEMAND, C1)


def test_without_a_region_left_the_run_ends_with_the_error_of_each() -> None:
    everywhere = [replace(REFUSED, provisioning=kind) for kind in (SPOT, ON_DEMAND)]
    assert "us-east4: Machine type is not supported." in closed(run(*everywhere, regions=(E4,)))


def test_after_a_preemption_without_progress_the_next_region_is_tried_and_then_a_pause_follows() -> None:
    lost = replace(preempted(), advanced_at=None)
    assert submitted(run(lost), T0) == (SPOT, E4)
    assert waits_until(run(lost, replace(lost, region=E4)), T0) == after(minutes=5)


def test_without_the_budget_to_finish_there_is_no_fallback_to_on_demand() -> None:
    """10 hours of work at 1 $/h, and spot at 0.5 $/h."""
    prices = {region: {SPOT: 0.5, ON_DEMAND: 1.0} for region in (C1, E4)}
    action = then(run(budget_usd=8.0, usd_per_hour=prices), after(hours=13, minutes=30))
    assert isinstance(action, Submit)
    assert (action.provisioning, action.region) == (SPOT, C1)
    assert action.reason == "slack 30 min, no budget for on-demand"
    assert submitted(run(budget_usd=12.0, usd_per_hour=prices), after(hours=20)) == (ON_DEMAND, C1)


def test_a_budget_for_more_than_one_job_of_seven_days_must_pay_for_all_of_them() -> None:
    """20 days of work at 24 $ a day."""
    long = {"work": timedelta(days=20), "deadline": after(hours=24 * 21)}
    assert submitted(run(budget_usd=240.0, **long), after(hours=24))[0] is SPOT
    assert submitted(run(budget_usd=500.0, **long), after(hours=24))[0] is ON_DEMAND


def test_a_budget_is_spent_only_in_a_region_where_it_reaches_the_end_if_there_is_one() -> None:
    prices = {C1: {SPOT: 0.5, FLEX: 0.5, ON_DEMAND: 1.0}, E4: {SPOT: 2.0, FLEX: 2.0, ON_DEMAND: 4.0}}
    policy: dict[str, Any] = {"budget_usd": 8.0, "usd_per_hour": prices}
    assert submitted(run(vain(C1), **policy), after(minutes=5)) == (SPOT, C1)
    assert submitted(run(vain(C1, provisioning=FLEX), vain(C1), flex_start=True, **policy)) == (FLEX, C1)
    spent = preempted(region=E4, at=after(hours=3, minutes=50))  # $7.67, and 33 cents pay for 9 min in us-east4
    assert submitted(run(spent, vain(C1), **policy), after(hours=9), done=9.9) == (SPOT, C1)
    assert submitted(run(vain(C1), **{**policy, "budget_usd": 4.0})) == (SPOT, E4)
    waited, line = vain(C1, after(hours=13), ON_DEMAND), after(hours=13, minutes=30)
    assert submitted(run(waited, **{**policy, "budget_usd": 11.0}), line) == (ON_DEMAND, C1)
    assert submitted(run(waited, **{**policy, "budget_usd": 42.0}), line) == (ON_DEMAND, E4)


@pytest.mark.parametrize("outcome", [Outcome.QUOTA, Outcome.REQUEST_REJECTED])
def test_a_refusal_in_a_region_that_had_accepted_the_machine_is_retried_after_the_round(outcome: Outcome) -> None:
    again = ended(outcome, region=C1, job=None, error=no_quota())
    assert submitted(run(preempted(), again)) == (SPOT, E4)
    assert waits_until(run(preempted(), again, vain(E4)), T0) == after(minutes=5)
    assert submitted(run(preempted(), again, vain(E4)), after(minutes=5)) == (SPOT, C1)


@pytest.mark.parametrize(("count", "hours"), [(6, 1), (7, 2), (8, 4), (9, 4)])
def test_pauses_grow_with_attempts_in_a_row_without_a_checkpoint(count: int, hours: int) -> None:
    lost = [replace(preempted((C1, E4)[number % 2]), advanced_at=None) for number in range(count)]
    assert waits_until(run(*lost), T0) == after(hours=hours)
    assert submitted(run(*lost), after(hours=hours))[0] is SPOT
    assert submitted(run(*lost), after(hours=13, minutes=10)) == (ON_DEMAND, C1)
    assert submitted(run(*lost, preempted()), T0)[0] is SPOT


def test_on_demand_without_a_checkpoint_pauses_as_well() -> None:
    lost = [ended(Outcome.INTERNAL, provisioning=ON_DEMAND, region=C1, started_at=T0)] * 6
    assert waits_until(run(*lost, strategy=Strategy.ON_DEMAND), T0) == after(hours=1)


@pytest.mark.parametrize("now", [T0, after(hours=20)])
def test_a_missing_permission_is_retried_after_a_pause(now: datetime) -> None:
    denied = ended(Outcome.PERMISSION, at=now, intended_at=now)
    assert waits_until(run(denied), now) == now + timedelta(minutes=15)
    assert submitted(run(denied), now + timedelta(minutes=15))[1] == C1
