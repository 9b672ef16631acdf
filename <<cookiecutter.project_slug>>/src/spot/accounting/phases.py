"""What the billed time of an attempt was spent on.

A time that is not known is never made up: what it would part stays with the phase beside it, or is `OTHER`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from spot.core.run import Attempt, Observation, Outcome, Run


class Phase(StrEnum):
    """What a machine is paid for."""

    TRAINING = "training"
    """Steps that count: they are in a checkpoint, or in a live attempt that has not lost them yet."""
    SAVING = "saving"
    """Training stood still for checkpoints."""
    STARTING = "starting"
    """The machine is there, the container is not yet."""
    RESTORING = "restoring"
    """From the trainer's start to its first new step."""
    STANDING_BY = "standing by"
    """Ready beside the attempt that it is to relieve."""
    REPLAYED = "replayed"
    """Trained and lost: after the newest checkpoint of an attempt that was ended, or in one that could not be read.
    Others train it again."""
    OTHER = "other"
    """Nothing tells: restarts inside a job, the end of a job that has done its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One phase of an attempt, from when to when. Time that saving took is in the spans of training."""

    phase: Phase
    start: datetime
    end: datetime


def spans_of(run: Run, attempt: Attempt, seen: Observation | None, now: datetime) -> tuple[Span, ...]:
    """From the machine's start to its end, without a gap; none if it never ran.

    Clocks that disagree cannot make a span end before it begins: it is left out then.
    """
    if attempt.started_at is None:
        return ()
    start, end = attempt.started_at, attempt.ended_at or now
    spans = []
    for phase, over_at in _marks(run, attempt, seen):
        until = min(over_at or end, end)
        if until > start:
            spans.append(Span(phase=phase, start=start, end=until))
            start = until
    return tuple(spans)


def by_phase(attempt: Attempt, spans: Iterable[Span], seen: Observation | None) -> Mapping[Phase, timedelta]:
    """How long each phase took, zero included; the sum is that of the spans."""
    found = dict.fromkeys(Phase, timedelta())
    for span in spans:
        found[span.phase] += span.end - span.start
    useful = found[Phase.TRAINING]
    if (most := _steps_take(attempt, seen)) is not None:
        useful = min(useful, most)
    saving = min(max(attempt.saving, timedelta()), useful)
    found[Phase.OTHER] += found[Phase.TRAINING] - useful
    found[Phase.TRAINING] = useful - saving
    found[Phase.SAVING] = saving
    return found


def successor_of(run: Run, attempt: Attempt) -> Attempt | None:
    """The twin that has trained in its place."""
    return next((one for one in run.attempts if one.replaces == attempt.id and one.advanced_at), None)


def saved_at(attempt: Attempt, seen: Observation | None) -> datetime | None:
    """When its newest checkpoint was taken."""
    progress = seen.progress if seen else None
    return attempt.saved_at or (progress.at if progress and progress.attempt == attempt.id else None)


def _marks(run: Run, attempt: Attempt, seen: Observation | None) -> list[tuple[Phase, datetime | None]]:
    """The phases in their order, and when each was over. None is the end, as it is of the last."""
    began, advanced = attempt.trainer_started_at, attempt.advanced_at
    if began is None and advanced is None:
        return [(_without_a_trainer(attempt), None)]
    marks: list[tuple[Phase, datetime | None]] = []
    if began or not attempt.replaces:
        marks.append((Phase.STARTING, began or advanced))
    if attempt.replaces:
        marks.append((Phase.STANDING_BY, _taken_over_at(run, attempt)))
    if advanced is None:
        return [*marks, (_without_a_step(attempt), None)]
    return [*marks, (Phase.RESTORING, advanced), *_from_the_first_step(run, attempt, seen)]


def _from_the_first_step(run: Run, attempt: Attempt, seen: Observation | None) -> list[tuple[Phase, datetime | None]]:
    saved, over = saved_at(attempt, seen), _relieved_at(run, attempt) or (seen.completed_at if seen else None)
    if attempt.outcome is Outcome.SUCCEEDED:
        return [(Phase.TRAINING, over), (Phase.OTHER, None)]
    if attempt.outcome is Outcome.HANDED_OVER or attempt.ended_at is None:
        return _redone(run, attempt, over, Phase.OTHER)
    if saved is None:
        return [(Phase.OTHER, None)]
    return _redone(run, attempt, saved, Phase.REPLAYED)


def _redone(run: Run, attempt: Attempt, until: datetime | None, rest: Phase) -> list[tuple[Phase, datetime | None]]:
    """Training `until` then, without the share of its steps that a later attempt made again: `REPLAYED`.

    A later one begins lower where the newest checkpoint was damaged.
    """
    marks: list[tuple[Phase, datetime | None]] = [(Phase.TRAINING, until), (rest, None)]
    begun, ended, last = attempt.advanced_at, until or attempt.ended_at, attempt.last_step
    if begun is None or ended is None or last is None or last <= attempt.from_step:
        return marks
    later = run.attempts[[one.id for one in run.attempts].index(attempt.id) + 1 :]
    lowest = min((one.from_step for one in later if one.advanced_at), default=last)
    if lowest >= last:
        return marks
    counts = max(lowest - attempt.from_step, 0) / (last - attempt.from_step)
    return [(Phase.TRAINING, begun + counts * (ended - begun)), (Phase.REPLAYED, ended), (rest, None)]


def _without_a_trainer(attempt: Attempt) -> Phase:
    if attempt.outcome is Outcome.SUCCEEDED:
        return Phase.TRAINING  # without checkpoints nothing is marked
    if attempt.replaces and attempt.ended_at is None:
        return Phase.STANDING_BY  # its trainer tells when it began only once it is over
    return Phase.OTHER if attempt.starts else Phase.STARTING


def _without_a_step(attempt: Attempt) -> Phase:
    """It restored, and trained what never came into a checkpoint."""
    if attempt.outcome is Outcome.SUCCEEDED:
        return Phase.TRAINING
    stood_by = attempt.replaces and attempt.outcome is Outcome.CANCELLED
    in_order = stood_by or attempt.ended_at is None or attempt.outcome is Outcome.HANDED_OVER
    return Phase.OTHER if in_order else Phase.REPLAYED


def _taken_over_at(run: Run, standby: Attempt) -> datetime | None:
    """When the attempt that `standby` relieves was gone, or certainly had no lease any more."""
    relieved = run.attempt(standby.replaces)
    known = [moment for moment in (relieved.ended_at if relieved else None, standby.advanced_at) if moment]
    return min(known, default=None)


def _relieved_at(run: Run, attempt: Attempt) -> datetime | None:
    """The first step of its twin: an upper bound of when it stopped, later than its newest checkpoint that was seen.

    What it saved to hand over may have had a successor before anybody looked.
    """
    successor = successor_of(run, attempt)
    return successor.advanced_at if successor else None


def _steps_take(attempt: Attempt, seen: Observation | None) -> timedelta | None:
    """How long its steps take at the measured rate, if it was restarted inside its job: no time tells that apart."""
    progress = seen.progress if seen else None
    if attempt.starts <= 1 or progress is None or progress.step <= 0:
        return None
    reached = attempt.last_step if attempt.last_step is not None else progress.step
    return progress.trained * (max(reached - attempt.from_step, 0) / progress.step)
