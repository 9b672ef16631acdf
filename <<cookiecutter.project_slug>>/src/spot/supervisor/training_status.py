"""Read what the trainer wrote to the bucket: checkpoints, markers, completions, and how long a training takes."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from spot.core.errors import SpotError
from spot.core.history import TrainingProgress
from spot.core.run import Attempt, Observation, Run, RunState, Spec
from spot.policy.slack import expected_start, worst_start
from spot.storage.base import Damaged, NewerFormat, Store
from spot.storage.factory import open_store
from spot.storage.records import completion, evaluation, facts, lease, manifest, markers
from spot.storage.records.codec import LONGEST
from spot.storage.records.facts import LiveFacts
from spot.storage.records.ledger import Ledger
from spot.storage.records.manifest import Manifest
from spot.storage.records.markers import AttemptStarts

WITHIN = timedelta(days=92)
MOST_RUNS = 10
"""Closed runs to look at, the newest first."""
FACTS_S = 5.0
GIVE_UP_S = 30.0
"""Seconds until a call that is not answered fails: a person or a workflow waits for it."""
_log = logging.getLogger(__name__)


class TrainingStatus(Protocol):
    """Read what the trainer wrote. Both methods raise `SpotError` if it cannot be read."""

    def observe(self, run: Run) -> Observation:
        """Return the newest checkpoint, the holder of the lease and the completion of a run."""

    def starts(self, run: Run, attempt: Attempt) -> AttemptStarts:
        """Return the starts that the trainer marked in an attempt."""


class BucketStatus:
    """Read it below the root of this project, whatever root the record of a run names."""

    def __init__(self, root: str) -> None:
        self._checkpoints = open_store(f"{root}/checkpoints", give_up_s=GIVE_UP_S)
        self._models = open_store(f"{root}/models", give_up_s=GIVE_UP_S)

    def observe(self, run: Run) -> Observation:
        newest = manifest.newest(self._checkpoints, run.id)
        inherited = manifest.newest(self._checkpoints, run.parent.checkpoints) if run.parent and not newest else None
        held = lease.read(self._checkpoints, run.id) if any(one.replaces for one in run.attempts) else None
        complete = completion.read(self._models, run.id)
        return Observation(
            progress=_progress(newest) if newest else _inherited(inherited) if inherited else None,
            writer=held.attempt if held else None,
            completed_at=complete.time if complete else None,
            evaluation=evaluation.find(self._models, complete) if complete else None,
        )

    def starts(self, run: Run, attempt: Attempt) -> AttemptStarts:
        return markers.starts(self._checkpoints, run.id, attempt.id)


def _progress(newest: Manifest) -> TrainingProgress:
    # A slower rate would put the end beyond the times that a computer can represent.
    is_rate = max(newest.step, newest.total_steps) <= newest.steps_per_second * LONGEST.total_seconds()
    return TrainingProgress(
        attempt=newest.attempt,
        step=newest.step,
        total_steps=newest.total_steps,
        trained=timedelta(seconds=newest.compute_seconds),
        steps_per_hour=3600 * newest.steps_per_second if is_rate else 0.0,
        at=newest.time,
        from_step=newest.from_step,
        saving=timedelta(seconds=newest.saving_seconds),
        save=timedelta(seconds=newest.save_seconds),
        checkpoint_interval=timedelta(seconds=newest.interval_seconds),
        evaluating=timedelta(seconds=newest.evaluation_seconds),
        longest_evaluation=timedelta(seconds=newest.longest_evaluation_seconds),
        evaluations_left=newest.evaluations_left,
    )


def _inherited(newest: Manifest) -> TrainingProgress:
    """Return the progress of a parent, which no attempt of this run has made."""
    return replace(_progress(newest), attempt=newest.run, saving=timedelta())


def live_facts(root: str) -> LiveFacts:
    """Return what `spot verify-live` measured; none if the bucket does not answer."""
    try:
        return facts.read(open_store(root, give_up_s=FACTS_S))
    except SpotError as error:
        _log.warning("the facts of spot verify-live are left out: %s", error)
        return LiveFacts()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredWork:
    run: str
    work: timedelta
    tail: timedelta
    """The last save and the results, a part of `work`."""
    expected_start: timedelta
    worst_start: timedelta
    """As the starts of that run and of the runs before it were."""


def succeeded(ledger: Ledger, now: datetime) -> Iterator[Run]:
    """Yield the succeeded runs among the newest closed ones, newest first.

    Raises `SpotError` if the bucket does not answer. A damaged record is skipped.
    """
    names = sorted(ledger.closed_since(now - WITHIN, now), key=lambda name: name.rpartition("/")[2], reverse=True)
    for name in names[:MOST_RUNS]:
        with contextlib.suppress(Damaged, NewerFormat):
            if (run := ledger.read_closed(name)).state is RunState.SUCCEEDED:
                yield run


def measured_work(past: Iterable[Run], models: Store, spec: Spec) -> MeasuredWork | None:
    """Return the duration that the newest of `past`, the succeeded runs, measured on this machine with these arguments.

    The data may have grown since. Raises `SpotError` if the bucket does not answer. A damaged record is skipped.
    """
    for run in past:
        complete = None
        if (run.spec.machine, run.spec.arguments) == (spec.machine, spec.arguments):
            with contextlib.suppress(Damaged, NewerFormat):
                complete = completion.read(models, run.id)
        if complete and complete.compute_seconds:
            tail, policy = timedelta(seconds=complete.tail_seconds), run.spec.policy
            return MeasuredWork(
                run=run.id,
                work=timedelta(seconds=complete.compute_seconds) + tail,
                tail=tail,
                expected_start=expected_start(policy.expected_start, run.attempts),
                worst_start=worst_start(spec.policy.worst_start, run.attempts),
            )
    return None
