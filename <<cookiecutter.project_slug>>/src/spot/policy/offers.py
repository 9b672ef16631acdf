"""List where a run can still ask for a machine, at which price, and for how long its budget pays."""

from dataclasses import dataclass
from datetime import timedelta

from spot.core.run import Outcome, Provisioning, Run
from spot.policy.slack import Slack

REFUSED = frozenset({Outcome.QUOTA, Outcome.REQUEST_REJECTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Describe one provisioning in one region that has not refused it."""

    region: str
    paid_for: timedelta
    """How long the rest of the budget pays; `timedelta.max` without a budget or a price."""
    finishes: bool
    """Whether the budget pays for the rest of the work and its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """List the offers by provisioning, the cheapest first.

    Offers that cannot finish the work are listed only if no offer of the same provisioning can.
    """

    spot: tuple[Offer, ...]
    flex_start: tuple[Offer, ...]
    on_demand: tuple[Offer, ...]

    @classmethod
    def of(cls, run: Run, slack: Slack) -> "Offers":
        """Compute all offers for a decision, once."""
        spent = run.usd_spent(slack.now) if run.spec.policy.budget_usd is not None else None
        return cls(
            spot=_offers(run, slack, spent, Provisioning.SPOT),
            flex_start=_offers(run, slack, spent, Provisioning.FLEX_START) if run.spec.policy.flex_start else (),
            on_demand=_offers(run, slack, spent, Provisioning.ON_DEMAND),
        )

    @property
    def on_demand_can_finish(self) -> bool:
        return bool(self.on_demand) and self.on_demand[0].finishes


def _offers(run: Run, slack: Slack, spent: float | None, kind: Provisioning) -> tuple[Offer, ...]:
    policy = run.spec.policy
    refused = ruled_out(run, kind)
    needed = slack.work + slack.expected_start
    found = []
    for region in policy.cheapest_first(kind):
        if region not in refused:
            price = policy.price(region, kind)
            paid_for = _paid_for(policy.budget_usd, spent, price)
            found.append(Offer(region=region, paid_for=paid_for, finishes=paid_for >= needed))
    return tuple([offer for offer in found if offer.finishes] or found)


def ruled_out(run: Run, kind: Provisioning) -> set[str]:
    """Return the regions that refused the machine or its quota, except where the run had such a machine before."""
    refusals = [attempt for attempt in run.attempts if attempt.outcome in REFUSED]
    if not refusals:
        return set()
    refused = {
        attempt.region
        for attempt in refusals
        if attempt.provisioning is kind
        or (attempt.outcome is Outcome.QUOTA and _share_quota(attempt.provisioning, kind))
    }
    had = (one for one in run.attempts if one.started_at is not None and _share_quota(one.provisioning, kind))
    return refused - {attempt.region for attempt in had}


def _share_quota(one: Provisioning, other: Provisioning) -> bool:
    """Return whether both count against the same quota: FLEX_START uses the preemptible quota, as spot does."""
    return (one is Provisioning.ON_DEMAND) == (other is Provisioning.ON_DEMAND)


def _paid_for(budget: float | None, spent: float | None, price: float | None) -> timedelta:
    if budget is None or spent is None or not price:
        return timedelta.max
    return max(timedelta(seconds=int((budget - spent) / price * 3600)), timedelta())
