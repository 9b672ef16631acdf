"""Choose the next attempt: regions in turn, a pause after each round, and spot, FLEX_START or on-demand."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from spot.core.actions import Action, Close, Submit, Wait
from spot.core.format import clock, counted, hours
from spot.core.run import Attempt, Outcome, Provisioning, Run, RunState, Strategy
from spot.policy.offers import REFUSED, Offer, Offers, ruled_out
from spot.policy.slack import LONGEST, Slack
from spot.policy.termination import MAX_WITHOUT_CHECKPOINT, preempted_too_often, without_checkpoint

PAUSES = (timedelta(minutes=5), timedelta(minutes=10), timedelta(minutes=15))
"""Least time between the last submit of the first, second and every further fruitless round, and the next round.

Rounds in which attempts waited for `provisioning_timeout` need no further pause.
"""
FIRST_REST, LONGEST_REST = timedelta(hours=1), timedelta(hours=4)
"""The pause after `MAX_WITHOUT_CHECKPOINT` attempts in a row without a checkpoint; it doubles with each further one."""
NEVER = datetime.max.replace(tzinfo=UTC)
SHORTEST = timedelta(minutes=6)
"""A budget that pays for less is spent: the start alone takes longer."""

_FRUITLESS = REFUSED | {Outcome.NO_CAPACITY, Outcome.PREEMPTED, Outcome.EXPIRED, Outcome.INTERNAL, Outcome.UNKNOWN}
"""Outcomes that send the next attempt to another region, unless there was progress first."""


def next_attempt(run: Run, offers: Offers, slack: Slack) -> Action:
    """Return what to submit, or until when to wait, for a run that has no active attempt."""
    match run.spec.policy.strategy:
        case Strategy.ON_DEMAND:
            chosen = _on_demand(run, offers, slack, f"{slack}, the strategy is on-demand")
        case Strategy.SPOT:
            chosen = next_spot(run, offers, slack)
        case Strategy.HYBRID:
            why = on_demand_is_due(offers, slack) or _spot_is_over(run, slack)
            if why and offers.on_demand_can_finish:
                chosen = _on_demand(run, offers, slack, why) or next_spot(run, offers, slack)
            else:
                no_quota = f"{slack}, no region has quota for spot"
                chosen = next_spot(run, offers, slack) or _on_demand(run, offers, slack, no_quota)
    return chosen or _nowhere(run)


def next_spot(run: Run, offers: Offers, slack: Slack) -> Submit | Wait | Close | None:
    """Return where to ask for spot now, or until when to pause; None if every region has refused."""
    if not offers.spot:
        return None
    trail = _fruitless(run, Provisioning.SPOT, Provisioning.FLEX_START)
    if rest := _rest(run, slack, Provisioning.SPOT, Provisioning.FLEX_START):
        until = rest.until or NEVER
        return rest if run.active_attempts else replace(rest, until=min(until, on_demand_due_at(run, offers, slack)))
    spot = [attempt for attempt in trail if attempt.provisioning is Provisioning.SPOT]
    rounds, index = divmod(len(spot), len(offers.spot))
    if rounds and not index:
        if trail[0].provisioning is Provisioning.SPOT and (flex_start := _flex_start(run, offers, slack)):
            return flex_start
        until = trail[0].intended_at + PAUSES[min(rounds, len(PAUSES)) - 1]
        if slack.now < until:
            what = f"no spot capacity in {_names(offers.spot)} in {counted(rounds, 'round')}, next try {clock(until)}"
            if run.active_attempts:
                return Wait(reason=what, until=until)
            reason = f"{what}, {outlook(run, offers, slack)}"
            return Wait(reason=reason, until=min(until, on_demand_due_at(run, offers, slack)))
    return _submit(run, slack, Provisioning.SPOT, offers.spot[index], outlook(run, offers, slack))


def on_demand_is_due(offers: Offers, slack: Slack) -> str | None:
    """Return why on-demand must start although spot might still come; None if it need not, or cannot finish."""
    if not offers.on_demand_can_finish or slack.left > slack.on_demand_margin:
        return None
    if slack.left <= slack.margin:
        return f"{slack}, latest on-demand start {clock(slack.latest_on_demand_start)}"
    kept = hours(slack.on_demand_margin - slack.margin)
    return f"{slack}: on-demand starts with {kept} in reserve for a hand-over back to spot"


def on_demand_due_at(run: Run, offers: Offers, slack: Slack) -> datetime:
    """Return when on-demand is due, or too late for another spot start, if nothing advances until then."""
    if run.spec.policy.strategy is not Strategy.HYBRID or not offers.on_demand_can_finish:
        return NEVER
    return min(slack.latest_on_demand_start - slack.expected_start, slack.on_demand_start)


def patience(run: Run, active: Attempt) -> timedelta:
    """Return how long spot or FLEX_START may wait. FLEX_START expires by itself; a reconcile sees that later."""
    policy = run.spec.policy
    extra = timedelta() if active.provisioning is Provisioning.SPOT else policy.reconcile_interval
    return policy.provisioning_timeout + extra


def outlook(run: Run, offers: Offers, slack: Slack) -> str:
    """Return the numbers that a wait for spot rests on."""
    if run.spec.policy.strategy is not Strategy.HYBRID:
        return str(slack)
    if not offers.on_demand_can_finish:
        return f"{slack}, no {'budget' if offers.on_demand else 'quota'} for on-demand"
    return f"{slack}, latest on-demand start {clock(slack.latest_on_demand_start)}"


def _names(offers: Sequence[Offer]) -> str:
    return ", ".join(offer.region for offer in offers)


def _spot_is_over(run: Run, slack: Slack) -> str | None:
    """Return why a new spot attempt is not worth its start, None if it is."""
    if slack.left < slack.expected_start + slack.margin:
        return f"{slack}: a spot start would end past the latest on-demand start"
    return preempted_too_often(run)


def _fruitless(run: Run, *kinds: Provisioning) -> list[Attempt]:
    """Return the newest attempts of these kinds since the last one with progress, newest first.

    A lost create is repeated in its region once. It counts only if the create before it was lost there too.
    """
    trail: list[Attempt] = []
    excluded = {kind: ruled_out(run, kind) for kind in kinds}
    asked = [
        attempt
        for attempt in run.attempts
        if attempt.provisioning in kinds
        and not (attempt.outcome in REFUSED and attempt.region in excluded[attempt.provisioning])
    ]
    for before, attempt in reversed([*zip([None, *asked], asked, strict=False)]):
        lost_before = before is not None and before.never_created and before.region == attempt.region
        if attempt.never_created and not lost_before:
            continue
        if attempt.outcome not in _FRUITLESS or attempt.advanced_at is not None:
            break
        trail.append(attempt)
    return trail


def _rest(run: Run, slack: Slack, *kinds: Provisioning) -> Wait | None:
    """Return how long attempts of these kinds pause: after many without a checkpoint, or for a missing permission."""
    newest = run.attempts[-1] if run.attempts else None
    if newest and newest.outcome is Outcome.PERMISSION:
        until, why = (newest.ended_at or newest.intended_at) + PAUSES[-1], f"{newest.id} lacks a permission"
    else:
        trail = [one for one in without_checkpoint(run) if one.provisioning in kinds and one.started_at is not None]
        if (over := len(trail) - MAX_WITHOUT_CHECKPOINT) < 0:
            return None
        until = (trail[0].ended_at or trail[0].intended_at) + min(FIRST_REST * 2 ** min(over, 2), LONGEST_REST)
        why = f"{counted(len(trail), 'attempt')} in a row ended without a checkpoint"
    if slack.now >= until:
        return None
    return Wait(reason=f"{why}, {slack}, next try {clock(until)}", until=until)


def _flex_start(run: Run, offers: Offers, slack: Slack) -> Submit | Close | None:
    """Return a FLEX_START attempt, once a round, if the slack covers its wait. Vertex AI ends that wait."""
    wait = run.spec.policy.provisioning_timeout
    regions = offers.flex_start
    if not regions or slack.left < slack.margin + slack.expected_start + wait:
        return None
    reason = f"no spot capacity in {_names(regions)}: FLEX_START for at most {hours(wait)}"
    tried = sum(attempt.provisioning is Provisioning.FLEX_START for attempt in run.attempts)
    return _submit(run, slack, Provisioning.FLEX_START, regions[tried % len(regions)], reason)


def _on_demand(run: Run, offers: Offers, slack: Slack, why: str) -> Submit | Wait | Close | None:
    if not offers.on_demand:
        return None
    if rest := _rest(run, slack, Provisioning.ON_DEMAND):
        return rest
    trail = _fruitless(run, Provisioning.ON_DEMAND)
    rounds, index = divmod(len(trail), len(offers.on_demand))
    if rounds and not index:
        until = trail[0].intended_at + PAUSES[0]
        if slack.now < until:
            regions = _names(offers.on_demand)
            reason = f"no on-demand capacity in {regions} in {counted(rounds, 'round')}, next try {clock(until)}"
            return Wait(reason=reason, until=until)
    return _submit(run, slack, Provisioning.ON_DEMAND, offers.on_demand[index], why)


def _submit(run: Run, slack: Slack, provisioning: Provisioning, offer: Offer, reason: str) -> Submit | Close:
    timeout = min(offer.paid_for, LONGEST)
    if timeout < SHORTEST:
        reason = (
            f"budget of ${run.spec.policy.budget_usd:.2f} spent: ${run.usd_spent(slack.now):.2f} for"
            f" {counted(len(run.attempts), 'attempt')}; the rest pays for {hours(timeout)} of {provisioning}"
            f" in {offer.region}, and {hours(slack.work)} of work are left"
        )
        return Close(reason=reason, state=RunState.FAILED)
    return Submit(reason=reason, provisioning=provisioning, region=offer.region, timeout=timeout)


def _nowhere(run: Run) -> Close:
    refusals = {a.region: a.error.message for a in run.attempts if a.outcome in REFUSED and a.error}
    said = "; ".join(f"{region}: {message}" for region, message in refusals.items())
    return Close(reason=f"every region refused the machine ({said})", state=RunState.FAILED)
