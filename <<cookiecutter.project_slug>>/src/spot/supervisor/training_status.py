"""Read what the trainer wrote to the bucket: checkpoints, markers, completion."""

from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from spot.core.history import TrainingProgress
from spot.core.run import Attempt, Observation, Run
from spot.storage.factory import open_store
from spot.storage.records import completion, lease, manifest, markers
from spot.storage.records.codec import LONGEST
from spot.storage.records.manifest import Manifest
from spot.storage.records.markers import AttemptStarts

GIVE_UP_S = 30.0
"""Seconds until a call that is not answered fails: a person or a workflow waits for it."""


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
        evaluating=timedelta(seconds=newest.evaluation_seconds),
        longest_evaluation=timedelta(seconds=newest.longest_evaluation_seconds),
        evaluations_left=newest.evaluations_left,
    )


def _inherited(newest: Manifest) -> TrainingProgress:
    """Return the progress of a parent, which no attempt of this run has made."""
    return replace(_progress(newest), attempt=newest.run, saving=timedelta())
