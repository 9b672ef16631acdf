"""Find what breaks the promise of a deadline: the run is late or must be, or a condition does not hold.

The conditions are those of docs/how-it-works.md. Pure functions of what is known and the time.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from spot.core.format import clock, hours
from spot.core.history import Alarm, CancelReason, Condition
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run, Strategy
from spot.policy.slack import SETTLE, Slack, counted_work

SLOWER = 1.1
"""Factor on the work counted at submit from which training counts as slower."""
_NO_MACHINE = frozenset(
    {Outcome.NO_CAPACITY, Outcome.QUOTA, Outcome.REQUEST_REJECTED, Outcome.EXPIRED, Outcome.INTERNAL, Outcome.UNKNOWN}
)
_Found = Iterator[tuple[Condition, str]]


def new_alarms(run: Run, seen: Observation | None, now: datetime, gap: timedelta) -> tuple[Alarm, ...]:
    """Return what is broken now and not recorded yet. `seen` is None if the bucket or Vertex AI gave no answer.

    `gap` is the time between the last two reconciles. A run on spot only has no promise, but a deadline.
    """
    found, allowed = dict(_deadline(run, seen, now)), run.spec.policy.reconcile_interval
    if run.spec.policy.strategy is not Strategy.SPOT:
        if gap > allowed:
            found[Condition.RECONCILE_INTERVAL] = f"{hours(gap)} between two reconciles, {hours(allowed)} allowed"
        if seen:
            found |= dict(_conditions(run, seen, now))
    known = {alarm.condition for alarm in run.alarms}
    return tuple(Alarm(at=now, condition=each, text=text) for each, text in found.items() if each not in known)


def _deadline(run: Run, seen: Observation | None, now: datetime) -> _Found:
    deadline, completed_at = run.spec.deadline, seen.completed_at if seen else None
    if (end := completed_at or now) > deadline:
        state = "complete" if completed_at else "not complete"
        yield Condition.LATE, f"the model is {state} {hours(end - deadline)} past the deadline {clock(deadline)}"
    elif seen and not completed_at:
        slack = Slack.of(run, seen, now)
        work = slack.likely_work
        if (end := _training_since(run, seen, slack) + work) > deadline:
            late = f"{hours(end - deadline)} past the deadline {clock(deadline)}"
            yield Condition.BOUND_TO_BE_LATE, f"{hours(work)} of work left end at {clock(end)} at best, {late}"


def _training_since(run: Run, seen: Observation, slack: Slack) -> datetime:
    """Return the earliest time at which the work left may have begun."""
    began = [active.started_at for active in run.active_attempts if active.started_at]
    saved_at = [seen.progress.at] if seen.progress else []
    return max(min(began), *saved_at, slack.now - slack.max_checkpoint_interval) if began else slack.now


def _conditions(run: Run, seen: Observation, now: datetime) -> _Found:
    policy, slack = run.spec.policy, Slack.of(run, seen, now)
    if (start := _longest_start(run, seen, slack)) > policy.worst_start:
        text = f"at least {hours(start)} to a new step, {hours(policy.worst_start)} allowed"
        yield Condition.ON_DEMAND_START, text
    allowed = max(policy.max_checkpoint_interval, slack.max_checkpoint_interval) + SETTLE
    for attempt in run.attempts:
        if policy.disable_retries and attempt.outcome is Outcome.PREEMPTED and (lost := _lost(attempt)) > allowed:
            yield Condition.LOST_WORK, f"{attempt.id} lost {hours(lost)}, {hours(allowed)} allowed"
        lag = _cancel_lag(attempt, now)
        if lag and (lag > SETTLE or attempt.outcome is Outcome.UNKNOWN):
            yield Condition.CANCEL, f"{attempt.id} active {hours(lag)} after its cancel, {hours(SETTLE)} allowed"
    counted = counted_work(policy)
    if slack.total_work > counted * SLOWER and slack.left <= slack.margin and not seen.completed_at:
        yield Condition.SPEED, f"training takes {hours(slack.total_work)}, {hours(counted)} were counted at submit"


def _longest_start(run: Run, seen: Observation, slack: Slack) -> timedelta:
    """Return the longest time from a submit on demand to the first new step, over attempts without a machine."""
    longest, asked = timedelta(), None
    for attempt in run.attempts:
        if attempt.provisioning is not Provisioning.ON_DEMAND:
            continue
        asked = asked or attempt.intended_at
        if attempt.advanced_at:
            longest = max(longest, attempt.advanced_at - asked)
        elif attempt.outcome is None and not attempt.cancel and not seen.completed_at:
            unseen = slack.max_checkpoint_interval if attempt.started_at else timedelta()
            longest = max(longest, slack.now - asked - unseen)
        if attempt.advanced_at or attempt.outcome not in {None, *_NO_MACHINE}:
            asked = None
    return longest


def _lost(attempt: Attempt) -> timedelta:
    if attempt.starts > 1 or not (attempt.advanced_at and attempt.saved_at and attempt.ended_at):
        return timedelta()
    return attempt.ended_at - max(attempt.saved_at, attempt.advanced_at)


def _cancel_lag(attempt: Attempt, now: datetime) -> timedelta | None:
    """Return how long the cancel of an attempt took that on-demand waited for."""
    cancel = attempt.cancel
    if cancel is None or cancel.why is not CancelReason.FALLBACK or attempt.replaces:
        return None
    return (attempt.ended_at or now) - cancel.at
