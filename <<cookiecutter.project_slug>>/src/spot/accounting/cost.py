"""Compute the cost, goodput and savings of runs from their records and the state of their bucket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from spot.accounting.phases import Phase, Span, by_phase, spans_of
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run, RunState

HOUR = timedelta(hours=1)
EVEN = 0.01
"""Smaller differences to on-demand, as a share, are within the error of both numbers."""


class Verdict(StrEnum):
    MET = "met"
    MISSED = "missed"
    DUE = "due"
    """Open, with time left."""
    NO_MODEL = "no model"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptCost:
    attempt: Attempt
    waited: timedelta
    """From submit to the machine, or to the end without a machine. Not billed."""
    billed: timedelta
    """An upper bound, see `Attempt.billed_hours`."""
    spans: tuple[Span, ...]
    """From the start of the machine to its end, without a gap."""
    phases: Mapping[Phase, timedelta]
    """Every phase; the sum is `billed`."""
    usd_per_hour: float | None
    usd: float | None
    """None if time was billed at an unknown price."""

    @property
    def handed_over_at(self) -> datetime | None:
        """Return when a standby replaced the attempt beside it."""
        standby = [span.end for span in self.spans if span.phase is Phase.STANDBY]
        return standby[-1] if standby and self.attempt.advanced_at else None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemand:
    """Estimate the same steps on uninterrupted on-demand in its cheapest region."""

    region: str
    usd_per_hour: float
    billed: timedelta
    """The steps that count, with one start and one end as in this run; zero without such a step."""

    @property
    def usd(self) -> float:
        return self.billed / HOUR * self.usd_per_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Hold the time, the cost and the verdict of a run, as of `end`."""

    run: Run
    observation: Observation | None
    """None if the bucket could not be read."""
    is_complete: bool
    """Whether the model is complete, even if the job and the run are still open."""
    end: datetime
    """When the model was complete, else when the run ended, else now."""
    attempts: tuple[AttemptCost, ...]
    wall: timedelta
    """From submit to `end`."""
    phases: Mapping[Phase, timedelta]
    """Of all attempts; the sum is `billed`."""
    on_demand: OnDemand | None
    """None if no region has a known price."""
    verdict: Verdict

    @property
    def without_machine(self) -> timedelta:
        """Return the part of `wall` without a machine; overlapping machines count once."""
        covered, reached = timedelta(), self.run.submitted_at
        for span in sorted((span for cost in self.attempts for span in cost.spans), key=lambda span: span.start):
            covered += max(min(span.end, self.end) - max(span.start, reached), timedelta())
            reached = max(reached, min(span.end, self.end))
        return self.wall - covered

    @property
    def billed(self) -> timedelta:
        return sum((attempt.billed for attempt in self.attempts), timedelta())

    @property
    def usd(self) -> float | None:
        """Return an upper bound, or None if a price is unknown."""
        costs = [attempt.usd for attempt in self.attempts]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    @property
    def usd_saved(self) -> float | None:
        """Return the difference to on-demand, negative for a loss, or None if a price is unknown."""
        return None if self.usd is None or self.on_demand is None else self.on_demand.usd - self.usd

    @property
    def share_saved(self) -> float | None:
        """Return the saving as a share of on-demand; None if on-demand costs nothing, as before the first step."""
        if self.usd_saved is None or self.on_demand is None or not self.on_demand.usd:
            return None
        return self.usd_saved / self.on_demand.usd

    @property
    def is_loss(self) -> bool:
        """Return whether the run cost more than on-demand; an open run before its first step is no loss."""
        if self.verdict is Verdict.NO_MODEL:
            return bool(self.usd)
        if self.share_saved is None:
            return self.run.state is not RunState.OPEN and bool(self.usd) and self.usd_saved is not None
        return self.share_saved <= -EVEN

    @property
    def goodput(self) -> float | None:
        """Return the share of the billed time that trained steps that count."""
        return self.phases[Phase.TRAINING] / self.billed if self.billed else None

    @property
    def to_spare(self) -> timedelta | None:
        """Return the time from `end` to the deadline, negative if late; None without a model."""
        return None if self.verdict is Verdict.NO_MODEL else self.run.spec.deadline - self.end


def account(run: Run, observation: Observation | None, now: datetime) -> Account:
    """Return the account of a run; `observation` is None if the bucket could not be read."""
    completed_at = observation.completed_at if observation else None
    is_complete = run.state is RunState.SUCCEEDED or (run.state is RunState.OPEN and completed_at is not None)
    end = _end(run, completed_at if is_complete else None, now)
    verdict = Verdict.MET if is_complete else Verdict.DUE
    if run.state not in {RunState.OPEN, RunState.SUCCEEDED}:
        verdict = Verdict.NO_MODEL
    elif end > run.spec.deadline:
        verdict = Verdict.MISSED
    attempts = tuple(_attempt_cost(run, attempt, observation, now) for attempt in run.attempts)
    return Account(
        run=run,
        observation=observation,
        is_complete=is_complete,
        end=end,
        attempts=attempts,
        wall=max(end - run.submitted_at, timedelta()),
        phases=_phases(attempts),
        on_demand=_on_demand(run, () if verdict is Verdict.NO_MODEL else attempts),
        verdict=verdict,
    )


def _end(run: Run, completed_at: datetime | None, now: datetime) -> datetime:
    if completed_at is None and run.state is not RunState.SUCCEEDED:
        return now if run.state is RunState.OPEN else run.ended_at or now
    succeeded = [one.ended_at for one in run.attempts if one.outcome is Outcome.SUCCEEDED and one.ended_at]
    return completed_at or (succeeded[-1] if succeeded else None) or run.ended_at or now


def _attempt_cost(run: Run, attempt: Attempt, observation: Observation | None, now: datetime) -> AttemptCost:
    until, spans = attempt.started_at or attempt.ended_at or now, spans_of(run, attempt, observation, now)
    billed = sum((span.end - span.start for span in spans), timedelta())
    price = run.spec.policy.price(attempt.region, attempt.provisioning)
    return AttemptCost(
        attempt=attempt,
        waited=max(until - attempt.intended_at, timedelta()),
        billed=billed,
        spans=spans,
        phases=by_phase(attempt, spans, observation),
        usd_per_hour=price,
        usd=(billed / HOUR * price if price is not None else None) if billed else 0.0,
    )


def _on_demand(run: Run, attempts: Sequence[AttemptCost]) -> OnDemand | None:
    """Return what the useful steps of these attempts would cost, or None without a price."""
    policy, phases = run.spec.policy, _phases(attempts)
    prices = [
        (price, region)
        for region in policy.regions
        if (price := policy.price(region, Provisioning.ON_DEMAND)) is not None
    ]
    if not prices:
        return None
    price, region = min(prices)
    starts = [
        one.phases[Phase.STARTING] + one.phases[Phase.RESTORING]
        for one in attempts
        if one.attempt.advanced_at and not one.attempt.replaces  # a standby starts while training goes on
    ]
    billed = phases[Phase.TRAINING] + phases[Phase.SAVING]
    if billed:
        billed += _finish(attempts) + (sum(starts, timedelta()) / len(starts) if starts else timedelta())
    return OnDemand(region=region, usd_per_hour=price, billed=billed)


def _finish(attempts: Sequence[AttemptCost]) -> timedelta:
    """Return how long the last successful job ran after the model was complete."""
    succeeded = [one for one in attempts if one.spans and one.attempt.outcome is Outcome.SUCCEEDED]
    if not succeeded or (last := succeeded[-1].spans[-1]).phase is not Phase.UNATTRIBUTED:
        return timedelta()
    return last.end - last.start


def _phases(attempts: Sequence[AttemptCost]) -> Mapping[Phase, timedelta]:
    return {phase: sum((one.phases[phase] for one in attempts), timedelta()) for phase in Phase}


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Hold the accounts of the runs submitted from `since` to `until`, oldest first."""

    since: datetime
    until: datetime
    accounts: tuple[Account, ...]
    skipped: tuple[str, ...]
    """The reason for each record that could not be read."""

    @property
    def priced(self) -> Sequence[Account]:
        """Return the accounts with both prices; money is added up over these only."""
        return [one for one in self.accounts if one.usd_saved is not None]

    @property
    def usd(self) -> float:
        return sum(one.usd or 0.0 for one in self.priced)

    @property
    def usd_on_demand(self) -> float:
        return sum(one.on_demand.usd for one in self.priced if one.on_demand)

    @property
    def usd_saved(self) -> float:
        return self.usd_on_demand - self.usd

    @property
    def share_saved(self) -> float | None:
        return self.usd_saved / self.usd_on_demand if self.usd_on_demand else None

    @property
    def is_loss(self) -> bool:
        return bool(self.usd) if self.share_saved is None else self.share_saved <= -EVEN

    @property
    def preemptions(self) -> int:
        return sum(one.run.preemptions for one in self.accounts)

    @property
    def billed(self) -> timedelta:
        return sum((one.billed for one in self.accounts), timedelta())

    @property
    def goodput(self) -> float | None:
        useful = sum((one.phases[Phase.TRAINING] for one in self.accounts), timedelta())
        return useful / self.billed if self.billed else None

    def count(self, verdict: Verdict) -> int:
        return sum(one.verdict is verdict for one in self.accounts)
