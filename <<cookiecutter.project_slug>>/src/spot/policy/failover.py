"""Which attempt comes next: regions in turn, pauses between rounds, and the rungs spot, FLEX_START, on-demand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from spot.core.actions import Action, Close, Submit, Wait
from spot.core.format import clock, counted, hours
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run, RunState, Strategy
from spot.policy.slack import LONGEST, SETTLE, Slack

PAUSES = (timedelta(minutes=5), timedelta(minutes=10), timedelta(minutes=15))
"""Since the last submit of the first, the second, and every further round through all regions that found nothing.

They keep apart what fails at once: who has waited for a machine for `provisioning_timeout` has paused enough.
"""
NEVER = datetime.max.replace(tzinfo=UTC)
LEAST = timedelta(minutes=6)
"""A budget that pays for less is spent: starting alone takes longer."""

_REFUSED = frozenset({Outcome.QUOTA, Outcome.REQUEST_REJECTED})
_FRUITLESS = frozenset({Outcome.NO_CAPACITY, Outcome.PREEMPTED, Outcome.EXPIRED, Outcome.INTERNAL, Outcome.UNKNOWN})
"""Unless it got somewhere first."""


def next_start(run: Run, seen: Observation, situation: Slack) -> Action:
    """What to submit, or until when to wait. Asked only while no attempt lives and the run goes on."""
    strategy, slack = run.spec.policy.strategy, f"slack {hours(situation.slack)}"
    if strategy is Strategy.ON_DEMAND:
        return _on_demand(run, situation, f"the strategy is on-demand, {slack}") or _nowhere(run)
    if strategy is Strategy.SPOT:
        return next_spot(run, seen, situation) or _nowhere(run)
    why = on_demand_is_due(run, situation) or _spot_is_over(run, situation)
    if why and on_demand_can_finish(run, situation):
        return _on_demand(run, situation, why) or next_spot(run, seen, situation) or _nowhere(run)
    why = f"no region has quota for spot, {slack}"
    return next_spot(run, seen, situation) or _on_demand(run, situation, why) or _nowhere(run)


def on_demand_is_due(run: Run, situation: Slack) -> str | None:
    """Why on-demand must start although spot might still come, None if it need not, or cannot."""
    if not on_demand_can_finish(run, situation):
        return None
    if situation.slack <= situation.margin:
        return (
            f"safety line: slack {hours(situation.slack)} <= {hours(situation.margin)}"
            f" (start {hours(situation.on_demand_needs)}, pass {hours(situation.reconcile_interval + SETTLE)},"
            f" loss {hours(situation.max_checkpoint_interval)})"
        )
    if situation.slack <= situation.late_margin:
        kept = situation.late_margin - situation.margin
        return (
            f"late start: slack {hours(situation.slack)} <= {hours(situation.late_margin)}"
            f" (margin {hours(situation.margin)}, reserve {hours(kept)} to get back to spot)"
        )
    return None


def on_demand_due_at(run: Run, situation: Slack) -> datetime:
    """When that is, or when a new start of spot is not worth it any more, if nothing advances until then."""
    if run.spec.policy.strategy is not Strategy.HYBRID or not on_demand_can_finish(run, situation):
        return NEVER
    return min(situation.safety_line - situation.expected_start, situation.late_start)


def _spot_is_over(run: Run, situation: Slack) -> str | None:
    """Why a new spot attempt is not worth its start, None if it is."""
    needed = situation.expected_start + situation.margin
    if situation.slack < needed:
        return f"slack {hours(situation.slack)} < {hours(needed)}: a spot start would end at the safety line"
    return preempted_too_often(run)


def preempted_too_often(run: Run) -> str | None:
    allowed = run.spec.policy.max_preemptions
    if allowed is not None and run.preemptions > allowed:
        return f"{run.preemptions} preemptions > {allowed} allowed"
    return None


def on_demand_can_finish(run: Run, situation: Slack) -> bool:
    """Whether a region is left that has not refused on-demand, and the budget pays for the rest of the work there."""
    return bool(_paid_to_the_end(run, situation, Provisioning.ON_DEMAND))


def patience(run: Run, active: Attempt) -> timedelta:
    """How long it may wait for its machine. FLEX_START ends its own waiting, and is given a tick to do so."""
    policy = run.spec.policy
    return (
        policy.provisioning_timeout
        if active.provisioning is Provisioning.SPOT
        else policy.provisioning_timeout + policy.reconcile_interval
    )


def is_cheaper(run: Run, spot: Submit, active: Attempt) -> bool:
    """Also if one of the prices is not known."""
    policy = run.spec.policy
    ours, theirs = policy.price(spot.region, spot.provisioning), policy.price(active.region, active.provisioning)
    return ours is None or theirs is None or ours < theirs


def elsewhere(run: Run, active: Attempt, situation: Slack) -> bool:
    """Whether another region could serve such an attempt."""
    return any(region != active.region for region in _regions(run, situation, active.provisioning))


def outlook(run: Run, situation: Slack) -> str:
    """The numbers that a wait for spot rests on."""
    slack = f"slack {hours(situation.slack)}"
    if run.spec.policy.strategy is not Strategy.HYBRID:
        return slack
    if not on_demand_can_finish(run, situation):
        missing = "budget" if _open_regions(run, Provisioning.ON_DEMAND) else "quota"
        return f"{slack}, and no {missing} for on-demand"
    return (
        f"{slack} > {hours(situation.late_margin)},"
        f" on-demand from {clock(situation.late_start)}, safety line {clock(situation.safety_line)}"
    )


def _open_regions(run: Run, provisioning: Provisioning) -> list[str]:
    """Those that have not refused such an attempt (waiting would not help there), the cheapest first."""
    refused = {
        attempt.region
        for attempt in run.attempts
        if (attempt.refused and attempt.provisioning is provisioning)
        or (attempt.outcome is Outcome.QUOTA and _shares_quota(attempt.provisioning, provisioning))
    }
    return [region for region in run.spec.policy.cheapest_first(provisioning) if region not in refused]


def _paid_to_the_end(run: Run, situation: Slack, kind: Provisioning) -> list[str]:
    needed = situation.work + situation.expected_start
    return [region for region in _open_regions(run, kind) if _paid_for(run, kind, region, situation.now) >= needed]


def _regions(run: Run, situation: Slack, kind: Provisioning) -> list[str]:
    """Where to ask. Money goes to a region where it does not reach the end only if it does so nowhere."""
    return _paid_to_the_end(run, situation, kind) or _open_regions(run, kind)


def _shares_quota(one: Provisioning, other: Provisioning) -> bool:
    """FLEX_START counts against the preemptible quota, as spot does."""
    return (one is Provisioning.ON_DEMAND) == (other is Provisioning.ON_DEMAND)


def _fruitless(run: Run, *kinds: Provisioning) -> list[Attempt]:
    """The newest attempts of these kinds since one ran and got somewhere, newest first.

    A create that was lost is made again, and is one of them only if the one before it was lost there too.
    """
    trail: list[Attempt] = []
    asked = [one for one in run.attempts if one.provisioning in kinds and one.outcome not in _REFUSED]
    for before, attempt in reversed([*zip([None, *asked], asked, strict=False)]):
        lost_before = before is not None and before.never_created and before.region == attempt.region
        if attempt.never_created and not lost_before:
            continue
        if attempt.outcome not in _FRUITLESS or attempt.advanced_at is not None:
            break
        trail.append(attempt)
    return trail


def next_spot(run: Run, seen: Observation, situation: Slack) -> Submit | Wait | Close | None:
    """Where to ask for spot now, or until when not to ask; None if every region has refused."""
    regions = _regions(run, situation, Provisioning.SPOT)
    if not regions:
        return None
    flex_regions = _regions(run, situation, Provisioning.FLEX_START)
    trail = _fruitless(run, Provisioning.SPOT, Provisioning.FLEX_START)
    spot = [attempt for attempt in trail if attempt.provisioning is Provisioning.SPOT]
    rounds, index = divmod(len(spot), len(regions))
    if rounds and not index:
        if trail[0].provisioning is Provisioning.SPOT and (rung := _flex_start(run, situation, flex_regions)):
            return rung
        pause = PAUSES[min(rounds, len(PAUSES)) - 1]
        until = trail[0].intended_at + pause
        if situation.now < until:
            numbers = f"slack {hours(situation.slack)}" if run.active_attempts else outlook(run, situation)
            reason = f"no spot in {', '.join(regions)} {counted(rounds, 'time')}, again at {clock(until)}: {numbers}"
            return Wait(
                reason=reason, until=until if run.active_attempts else min(until, on_demand_due_at(run, situation))
            )
    step = f"from step {seen.progress.step} of {seen.progress.total_steps}" if seen.progress else "from the beginning"
    return _submit(run, situation, Provisioning.SPOT, regions[index], f"spot {step}: {outlook(run, situation)}")


def _flex_start(run: Run, situation: Slack, regions: list[str]) -> Submit | Close | None:
    """Once a round, if the safety line leaves time to wait for it. It ends its own waiting."""
    wait = run.spec.policy.provisioning_timeout
    if (
        not (run.spec.policy.flex_start and regions)
        or situation.slack < situation.margin + situation.expected_start + wait
    ):
        return None
    reason = f"no spot in {', '.join(regions)}: FLEX_START for {hours(wait)} at most, {outlook(run, situation)}"
    tried = sum(attempt.provisioning is Provisioning.FLEX_START for attempt in run.attempts)
    return _submit(run, situation, Provisioning.FLEX_START, regions[tried % len(regions)], reason)


def _on_demand(run: Run, situation: Slack, why: str) -> Action | None:
    regions = _regions(run, situation, Provisioning.ON_DEMAND)
    if not regions:
        return None
    trail = _fruitless(run, Provisioning.ON_DEMAND)
    rounds, index = divmod(len(trail), len(regions))
    if rounds and not index:
        until = trail[0].intended_at + PAUSES[0]
        if situation.now < until:
            reason = f"no on-demand in {', '.join(regions)} {counted(rounds, 'time')}, again at {clock(until)}"
            return Wait(reason=reason, until=until)
    return _submit(run, situation, Provisioning.ON_DEMAND, regions[index], why)


def _submit(run: Run, situation: Slack, provisioning: Provisioning, region: str, reason: str) -> Submit | Close:
    timeout = min(_paid_for(run, provisioning, region, situation.now), LONGEST)
    if timeout < LEAST:
        spent, budget = run.usd_spent(situation.now), run.spec.policy.budget_usd
        tried = counted(len(run.attempts), "attempt")
        reason = (
            f"the budget of ${budget:.2f} is spent: ${spent:.2f} for {tried}, what is left pays"
            f" for {hours(timeout)} of {provisioning} in {region}, {hours(situation.work)} of work are left"
        )
        return Close(reason=reason, state=RunState.FAILED)
    return Submit(reason=reason, provisioning=provisioning, region=region, timeout=timeout)


def _paid_for(run: Run, provisioning: Provisioning, region: str, now: datetime) -> timedelta:
    """How long the rest of the budget pays for such attempts."""
    budget = run.spec.policy.budget_usd
    if budget is None:
        return timedelta.max
    spent, price = run.usd_spent(now), run.spec.policy.price(region, provisioning)
    if spent is None or not price:
        return timedelta.max
    return max(timedelta(seconds=int((budget - spent) / price * 3600)), timedelta())


def _nowhere(run: Run) -> Close:
    refusals = {a.region: a.error.message for a in run.attempts if a.outcome in _REFUSED and a.error}
    said = "; ".join(f"{region}: {message}" for region, message in refusals.items())
    return Close(reason=f"no region has quota for such a machine, or knows it ({said})", state=RunState.FAILED)
