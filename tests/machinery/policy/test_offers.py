"""Test the list of regions where a run can still request a machine, and for how long its budget lasts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from spot.core.run import Attempt, Outcome, Provisioning
from spot.policy.offers import Offers
from spot.policy.slack import Slack
from tests.machinery.samples import T0, ended, no_quota, run, seen

C1, E4 = "us-central1", "us-east4"
SPOT, FLEX, ON_DEMAND = Provisioning.SPOT, Provisioning.FLEX_START, Provisioning.ON_DEMAND


def offers(*attempts: Attempt, **changes: Any) -> Offers:
    made = run(*attempts, **changes)
    return Offers.of(made, Slack.of(made, seen(), T0))


def refused(provisioning: Provisioning, outcome: Outcome = Outcome.QUOTA, **changes: Any) -> Attempt:
    return ended(outcome, provisioning=provisioning, region=C1, error=no_quota(provisioning), **changes)


def test_the_cheapest_region_comes_first() -> None:
    found = offers(regions=(E4, C1))
    assert [offer.region for offer in found.spot] == [C1, E4]
    assert found.on_demand_can_finish


def test_flex_start_is_offered_only_where_the_policy_allows_it() -> None:
    assert offers().flex_start == ()
    assert [offer.region for offer in offers(flex_start=True).flex_start] == [C1, E4]


@pytest.mark.parametrize(("provisioning", "spot", "on_demand"), [(SPOT, 1, 2), (FLEX, 1, 2), (ON_DEMAND, 2, 1)])
def test_a_region_without_quota_is_left_out_for_what_shares_that_quota(
    provisioning: Provisioning, spot: int, on_demand: int
) -> None:
    found = offers(refused(provisioning))
    assert (len(found.spot), len(found.on_demand)) == (spot, on_demand)


def test_a_rejected_create_is_left_out_for_its_own_provisioning_only() -> None:
    found = offers(refused(FLEX, Outcome.REQUEST_REJECTED, job=None), flex_start=True)
    assert (len(found.spot), len(found.flex_start)) == (2, 1)


def test_a_budget_pays_for_hours_at_the_price_of_the_region() -> None:
    found = offers(budget_usd=6.0)
    assert [offer.paid_for for offer in found.spot] == [timedelta(hours=12)]  # us-east4: 10.0 h, less than needed
    assert [(offer.region, offer.finishes) for offer in found.on_demand] == [(C1, False), (E4, False)]
    assert not found.on_demand_can_finish
