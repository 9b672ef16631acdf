"""Where the time and the money of a run went. Pure: from its record, and what the bucket says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from spot.accounting.phases import Phase, Span, by_phase, spans_of
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run, RunState

HOUR = timedelta(hours=1)
EVEN = 0.01
"""A difference to on-demand of less than this share is none: the two are not known so well."""


class Verdict(StrEnum):
    """How a run stands to its deadline."""

    MET = "met"
    MISSED = "missed"
    DUE = "due"
    """It is open, and there is time left."""
    NO_MODEL = "no model"
    """It ended without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The account of one attempt."""

    attempt: Attempt
    waited: timedelta
    """From the decision to the machine, or to the end where none came. Not billed."""
    billed: timedelta
    """Upper bound, see `Attempt.billed_hours`."""
    spans: tuple[Span, ...]
    """One after the other, from machine to end."""
    phases: Mapping[Phase, timedelta]
    """Every phase, adding up to `billed`."""
    usd_per_hour: float | None
    usd: float | None
    """None if something was billed at a price that is not known."""

    @property
    def took_over_at(self) -> datetime | None:
        """When it relieved the attempt that it stood by."""
        standing = [span.end for span in self.spans if span.phase is Phase.STANDING_BY]
        return standing[-1] if standing and self.attempt.advanced_at else None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemand:
    """What the same steps would have cost with nothing but on-demand, uninterrupted, in its cheapest region."""

    region: str
    usd_per_hour: float
    work: timedelta
    """Training and saving, as this run took for the steps that count. Nothing if it ended without a model."""
    restore: timedelta
    """One start: what those of this run took on average, from machine to first step."""
    finish: timedelta
    """From the model to the end of the job, as it was here."""

    @property
    def usd(self) -> float:
        """Nothing for no step: a start alone is no work."""
        return (self.work + self.restore + self.finish) / HOUR * self.usd_per_hour if self.work else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account of a run, or of an open one up to `end`."""

    run: Run
    seen: Observation | None
    end: datetime
    """When the model was there, else when the run ended, else now."""
    entries: tuple[Entry, ...]
    wall: timedelta
    """From submit to `end`."""
    covered: timedelta
    """The part of it in which at least one machine ran; the rest was waited for one."""
    phases: Mapping[Phase, timedelta]
    """Of all attempts, adding up to what was billed."""
    on_demand: OnDemand | None
    """None if its price is not known."""
    verdict: Verdict

    @property
    def is_complete(self) -> bool:
        """The model is there, though its job, and so the run, may not have ended yet."""
        return _is_complete(self.run, self.seen)

    @property
    def waiting(self) -> timedelta:
        return self.wall - self.covered

    @property
    def billed(self) -> timedelta:
        return sum((entry.billed for entry in self.entries), timedelta())

    @property
    def usd(self) -> float | None:
        """Upper bound; None if some of it has no known price."""
        costs = [entry.usd for entry in self.entries]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    @property
    def usd_saved(self) -> float | None:
        """Against on-demand; negative is a loss. None if a price is not known. Without a model, all is lost."""
        return None if self.usd is None or self.on_demand is None else self.on_demand.usd - self.usd

    @property
    def share_saved(self) -> float | None:
        """The same as a share of on-demand's cost. None too if that is nothing: no step counts, or no model."""
        if self.usd_saved is None or self.on_demand is None or not self.on_demand.usd:
            return None
        return self.usd_saved / self.on_demand.usd

    @property
    def is_loss(self) -> bool:
        """An open run has spent something before its first step: that is none yet."""
        if self.verdict is Verdict.NO_MODEL:
            return bool(self.usd)
        if self.share_saved is None:
            return self.run.state is not RunState.OPEN and bool(self.usd) and self.usd_saved is not None
        return self.share_saved <= -EVEN

    @property
    def goodput(self) -> float | None:
        """Useful training as a share of what was billed; None if nothing was."""
        return self.phases[Phase.TRAINING] / self.billed if self.billed else None

    @property
    def goodput_of_wall(self) -> float | None:
        """The same as a share of the wall clock."""
        return self.phases[Phase.TRAINING] / self.wall if self.wall else None

    @property
    def to_spare(self) -> timedelta | None:
        """Between the end and the deadline, negative if late; None for a run that ended without a model."""
        return None if self.verdict is Verdict.NO_MODEL else self.run.spec.deadline - self.end


def account(run: Run, seen: Observation | None, now: datetime) -> Account:
    """`seen` is None if the bucket was not asked, or did not say."""
    end = _end(run, seen, now)
    verdict = _verdict(run, seen, end)
    entries = tuple(_entry(run, attempt, seen, now) for attempt in run.attempts)
    phases = _sum(entry.phases for entry in entries)
    return Account(
        run=run,
        seen=seen,
        end=end,
        entries=entries,
        wall=max(end - run.submitted_at, timedelta()),
        covered=_covered(entries, run.submitted_at, end),
        phases=phases,
        on_demand=_on_demand(run, [] if verdict is Verdict.NO_MODEL else entries),
        verdict=verdict,
    )


def _end(run: Run, seen: Observation | None, now: datetime) -> datetime:
    if not _is_complete(run, seen):
        return now if run.state is RunState.OPEN else run.ended_at or now
    done = [one.ended_at for one in run.attempts if one.outcome is Outcome.SUCCEEDED and one.ended_at]
    return (seen.completed_at if seen else None) or (done[-1] if done else None) or run.ended_at or now


def _verdict(run: Run, seen: Observation | None, end: datetime) -> Verdict:
    if run.state not in {RunState.OPEN, RunState.SUCCEEDED}:
        return Verdict.NO_MODEL
    if end > run.spec.deadline:
        return Verdict.MISSED
    return Verdict.MET if _is_complete(run, seen) else Verdict.DUE


def _is_complete(run: Run, seen: Observation | None) -> bool:
    return run.state is RunState.SUCCEEDED or (run.state is RunState.OPEN and bool(seen and seen.completed_at))


def _entry(run: Run, attempt: Attempt, seen: Observation | None, now: datetime) -> Entry:
    billed = timedelta()
    until = attempt.started_at or attempt.ended_at or now
    spans = spans_of(run, attempt, seen, now)
    if attempt.started_at:
        billed = max((attempt.ended_at or now) - attempt.started_at, timedelta())
    price = run.spec.policy.price(attempt.region, attempt.provisioning)
    return Entry(
        attempt=attempt,
        waited=max(until - attempt.intended_at, timedelta()),
        billed=billed,
        spans=spans,
        phases=by_phase(attempt, spans, seen),
        usd_per_hour=price,
        usd=(billed / HOUR * price if price is not None else None) if billed else 0.0,
    )


def _covered(entries: Iterable[Entry], begin: datetime, end: datetime) -> timedelta:
    covered, reached = timedelta(), begin
    for span in sorted((span for entry in entries for span in entry.spans), key=lambda span: span.start):
        covered += max(min(span.end, end) - max(span.start, reached), timedelta())
        reached = max(reached, min(span.end, end))
    return covered


def _on_demand(run: Run, entries: Sequence[Entry]) -> OnDemand | None:
    """For what these attempts came to."""
    policy, phases = run.spec.policy, _sum(entry.phases for entry in entries)
    prices = [
        (price, region)
        for region in policy.regions
        if (price := policy.price(region, Provisioning.ON_DEMAND)) is not None
    ]
    if not prices:
        return None
    price, region = min(prices)
    starts = [
        entry.phases[Phase.STARTING] + entry.phases[Phase.RESTORING]
        for entry in entries
        if entry.attempt.advanced_at and not entry.attempt.replaces
    ]
    return OnDemand(
        region=region,
        usd_per_hour=price,
        work=phases[Phase.TRAINING] + phases[Phase.SAVING],
        restore=sum(starts, timedelta()) / len(starts) if starts else timedelta(),
        finish=_finish(entries),
    )


def _finish(entries: Sequence[Entry]) -> timedelta:
    finished = [entry for entry in entries if entry.spans and entry.attempt.outcome is Outcome.SUCCEEDED]
    last = finished[-1] if finished else None
    if last is None or last.spans[-1].phase is not Phase.OTHER:
        return timedelta()
    return last.spans[-1].end - last.spans[-1].start


def _sum(parts: Iterable[Mapping[Phase, timedelta]]) -> Mapping[Phase, timedelta]:
    every = list(parts)
    return {phase: sum((part[phase] for part in every), timedelta()) for phase in Phase}
