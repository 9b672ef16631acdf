"""Convert the training status to the time of the rehearsal: the trainer runs in real time."""

from dataclasses import replace

from spot.core.run import Attempt, Observation, Run
from spot.emulators.clock import ScaledClock
from spot.storage.records.markers import AttemptStarts
from spot.supervisor.training_status import BucketStatus


class ScaledStatus:
    """Read the status from the bucket, with times and rates in the time of `clock`."""

    def __init__(self, clock: ScaledClock, scale: float) -> None:
        self._clock, self._scale, self._real = clock, scale, BucketStatus()

    def observe(self, run: Run) -> Observation:
        seen = self._real.observe(run)
        progress = seen.progress
        return replace(
            seen,
            progress=progress
            and replace(
                progress,
                at=self._clock.simulated(progress.at),
                trained=progress.trained * self._scale,
                steps_per_hour=progress.steps_per_hour / self._scale,
                saving=progress.saving * self._scale,
            ),
            completed_at=seen.completed_at and self._clock.simulated(seen.completed_at),
        )

    def starts(self, run: Run, attempt: Attempt) -> AttemptStarts:
        starts = self._real.starts(run, attempt)
        return replace(starts, started_at=starts.started_at and self._clock.simulated(starts.started_at))
