"""Split the billed time of an attempt into phases.

An unknown time is never estimated: the phases that it would separate stay together, or are `UNATTRIBUTED`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from spot.core.run import Attempt, Observation, Outcome, Run


class Phase(StrEnum):
    TRAINING = "training"
    """Steps that count: in a checkpoint, or in an active attempt that has not lost them."""
    SAVING = "saving"
    """Training paused for checkpoints."""
    STARTING = "starting"
    """From the machine to the trainer."""
    RESTORING = "restoring"
    """From the trainer to its first new step."""
    STANDBY = "standby"
    """Ready beside the attempt to replace."""
    LOST_WORK = "lost work"
    """Steps after the last usable checkpoint, which a later attempt recomputes."""
    UNATTRIBUTED = "unattributed"
    """No record: restarts inside a job, and a job that goes on after its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Hold one phase of an attempt; pauses for checkpoints are inside `TRAINING`."""

    phase: Phase
    start: datetime
    end: datetime


_Marks = list[tuple[Phase, datetime | None]]
"""Phases in order, each with its end; None is the end of the attempt."""


def spans_of(run: Run, attempt: Attempt, observation: Observation | None, now: datetime) -> tuple[Span, ...]:
    """Return the phases of an attempt from machine to end, without a gap.

    A phase that clocks in disagreement would make negative is left out.
    """
    if attempt.started_at is None:
        return ()
    start, end = attempt.started_at, attempt.ended_at or now
    spans = []
    for phase, over_at in _marks(run, attempt, observation):
        until = min(over_at or end, end)
        if until > start:
            spans.append(Span(phase=phase, start=start, end=until))
            start = until
    return tuple(spans)


def by_phase(attempt: Attempt, spans: Iterable[Span], observation: Observation | None) -> Mapping[Phase, timedelta]:
    """Return the time of every phase, zero included; the sum is that of the spans."""
    found = dict.fromkeys(Phase, timedelta())
    for span in spans:
        found[span.phase] += span.end - span.start
    useful = found[Phase.TRAINING]
    progress = observation.progress if observation else None
    if attempt.starts > 1 and progress and progress.step > 0:  # restarts left no other record than the measured rate
        reached = attempt.last_step if attempt.last_step is not None else progress.step
        share = max(reached - attempt.from_step, 0) / progress.step
        useful = timedelta(seconds=min(useful.total_seconds(), progress.trained.total_seconds() * share))
    saving = min(max(attempt.saving, timedelta()), useful)
    found[Phase.UNATTRIBUTED] += found[Phase.TRAINING] - useful
    found[Phase.TRAINING] = useful - saving
    found[Phase.SAVING] = saving
    return found


def successor_of(run: Run, attempt: Attempt) -> Attempt | None:
    """Return the standby that replaced an attempt and has trained."""
    return next((one for one in run.attempts if one.replaces == attempt.id and one.advanced_at), None)


def saved_at(attempt: Attempt, observation: Observation | None) -> datetime | None:
    progress = observation.progress if observation else None
    return attempt.saved_at or (progress.at if progress and progress.attempt == attempt.id else None)


def _marks(run: Run, attempt: Attempt, observation: Observation | None) -> _Marks:
    began, advanced = attempt.trainer_started_at, attempt.advanced_at
    if began is None and advanced is None:
        return [(_without_a_trainer(attempt), None)]
    marks: _Marks = []
    if began or not attempt.replaces:
        marks.append((Phase.STARTING, began or advanced))
    if attempt.replaces:
        marks.append((Phase.STANDBY, _handed_over_at(run, attempt)))
    if advanced is None:
        return [*marks, (_without_a_step(attempt), None)]
    return [*marks, (Phase.RESTORING, advanced), *_from_the_first_step(run, attempt, observation)]


def _from_the_first_step(run: Run, attempt: Attempt, observation: Observation | None) -> _Marks:
    saved, over = saved_at(attempt, observation), observation.completed_at if observation else None
    if successor := successor_of(run, attempt):
        # An upper bound: its final checkpoint may be superseded before a reconcile reads it.
        over = successor.advanced_at
    if attempt.outcome is Outcome.SUCCEEDED:
        return [(Phase.TRAINING, over), (Phase.UNATTRIBUTED, None)]
    if attempt.outcome is Outcome.HANDED_OVER or attempt.ended_at is None:
        return _without_recomputed(run, attempt, over, Phase.UNATTRIBUTED)
    if saved is None:
        return [(Phase.UNATTRIBUTED, None)]
    return _without_recomputed(run, attempt, saved, Phase.LOST_WORK)


def _without_recomputed(run: Run, attempt: Attempt, until: datetime | None, rest: Phase) -> _Marks:
    """Return training until `until`, less the share of steps that a later attempt recomputed.

    A later attempt begins lower if the newest checkpoint was damaged.
    """
    marks: _Marks = [(Phase.TRAINING, until), (rest, None)]
    begun, ended, last = attempt.advanced_at, until or attempt.ended_at, attempt.last_step
    if begun is None or ended is None or last is None or last <= attempt.from_step:
        return marks
    later = run.attempts[[one.id for one in run.attempts].index(attempt.id) + 1 :]
    lowest = min((one.from_step for one in later if one.advanced_at), default=last)
    if lowest >= last:
        return marks
    counts = max(lowest - attempt.from_step, 0) / (last - attempt.from_step)
    return [(Phase.TRAINING, begun + counts * (ended - begun)), (Phase.LOST_WORK, ended), (rest, None)]


def _without_a_trainer(attempt: Attempt) -> Phase:
    if attempt.outcome is Outcome.SUCCEEDED:
        return Phase.TRAINING  # without checkpoints there are no marks
    if attempt.replaces and attempt.ended_at is None:
        return Phase.STANDBY  # the start of its trainer is known only after it ended
    return Phase.UNATTRIBUTED if attempt.starts else Phase.STARTING


def _without_a_step(attempt: Attempt) -> Phase:
    """Return the phase of an attempt that restored but never saved a step."""
    if attempt.outcome is Outcome.SUCCEEDED:
        return Phase.TRAINING
    unused_standby = attempt.replaces and attempt.outcome is Outcome.CANCELLED
    in_order = unused_standby or attempt.ended_at is None or attempt.outcome is Outcome.HANDED_OVER
    return Phase.UNATTRIBUTED if in_order else Phase.LOST_WORK


def _handed_over_at(run: Run, standby: Attempt) -> datetime | None:
    """Return when the attempt that `standby` replaces had ended, or had certainly lost its lease."""
    replaced = run.attempt(standby.replaces)
    known = [moment for moment in (replaced.ended_at if replaced else None, standby.advanced_at) if moment]
    return min(known, default=None)
