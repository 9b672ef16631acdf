"""Read what the trainer wrote to the bucket: checkpoints, markers, completion."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from spot.core.run import Attempt, Observation, Run, TrainingProgress
from spot.storage.base import GIVE_UP_S, Damaged, Store
from spot.storage.factory import open_store
from spot.storage.records import completion, lease, manifest, markers
from spot.storage.records.manifest import Manifest
from spot.storage.records.markers import AttemptStarts


class TrainingStatus(Protocol):
    """Read what the trainer wrote. Both methods raise `SpotError` if it cannot be read."""

    def observe(self, run: Run) -> Observation:
        """Return the newest checkpoint, the holder of the lease and the completion of a run."""

    def starts(self, run: Run, attempt: Attempt) -> AttemptStarts:
        """Return the starts that the trainer marked in an attempt."""


class BucketStatus:
    """Read it from the bucket of the run."""

    def __init__(self, *, give_up_s: float = GIVE_UP_S) -> None:
        self._give_up_s = give_up_s
        self._stores: dict[str, Store] = {}

    def observe(self, run: Run) -> Observation:
        checkpoints = self._store(f"{run.spec.root}/checkpoints")
        newest = manifest.newest(checkpoints, run.id)
        inherited = manifest.newest(checkpoints, run.parent.checkpoints) if run.parent and not newest else None
        held = lease.read(checkpoints, run.id) if any(one.replaces for one in run.attempts) else None
        complete = completion.read(self._store(f"{run.spec.root}/models"), run.id)
        return Observation(
            progress=_progress(newest) if newest else _inherited(inherited) if inherited else None,
            writer=held.attempt if held else None,
            completed_at=complete.time if complete else None,
        )

    def starts(self, run: Run, attempt: Attempt) -> AttemptStarts:
        return markers.starts(self._store(f"{run.spec.root}/checkpoints"), run.id, attempt.id)

    def _store(self, uri: str) -> Store:
        if uri not in self._stores:
            self._stores[uri] = open_store(uri, give_up_s=self._give_up_s)
        return self._stores[uri]


def _progress(newest: Manifest) -> TrainingProgress:
    return TrainingProgress(
        attempt=newest.attempt,
        step=newest.step,
        total_steps=newest.total_steps,
        trained=timedelta(seconds=_at_least_0(newest.compute_seconds)),
        steps_per_hour=3600 * _at_least_0(newest.steps_per_second),
        at=_moment(newest.time, "the newest manifest"),
        from_step=newest.from_step,
        saving=timedelta(seconds=_at_least_0(newest.saving_seconds)),
    )


def _inherited(newest: Manifest) -> TrainingProgress:
    """Return the progress of a parent, which no attempt of this run has made."""
    return replace(_progress(newest), attempt=newest.run, saving=timedelta())


def _at_least_0(number: float) -> float:
    return number if 0 < number < math.inf else 0.0


def _moment(text: str, name: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, TypeError) as error:
        raise Damaged(f"{name} has the time {text!r}: expected ISO 8601") from error
