"""Control the Cloud Run job that reconciles, and the Cloud Scheduler job of the same name that starts it."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from spot.core.errors import SpotError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorJob:
    """Name the two jobs."""

    project: str
    region: str
    name: str

    @classmethod
    def of(cls, project: str, region: str, prefix: str) -> Self:
        """Return the job of the project with this prefix in the bucket."""
        slug = re.sub("[^a-z0-9]+", "-", prefix.lower()).strip("-")[:40].rstrip("-")
        return cls(project=project, region=region, name=f"spot-{slug}")

    @property
    def path(self) -> str:
        return f"projects/{self.project}/locations/{self.region}/jobs/{self.name}"


def follow(job: SupervisorJob | None, open_ids: Callable[[], Sequence[str]], *, is_open: bool, is_backup: bool) -> None:
    """Stop the schedule after the last run. A run that is recorded meanwhile starts it again, and so does a backup."""
    try:
        if is_open and is_backup:
            switch(job, on=True)
        elif job and not is_open and not open_ids():
            switch(job, on=False)
            if open_ids():
                switch(job, on=True)
    except SpotError as error:
        _log.warning("whether a run is open is unknown: %s", error)


def switch(job: SupervisorJob | None, *, on: bool) -> None:
    """Resume or pause the schedule, if the project has one. A failure is logged: a later reconcile repeats it."""
    if job:
        from spot.google.rest import GoogleApi  # settings name a job without loading google.auth

        try:
            api = GoogleApi.open()
            is_on = api.get("cloudscheduler", f"v1/{job.path}").get("state") == "ENABLED"
            if is_on != on:  # Cloud Scheduler refuses to repeat either
                api.call("POST", "cloudscheduler", f"v1/{job.path}:{'resume' if on else 'pause'}", body={})
        except SpotError as error:
            _log.warning("Cloud Scheduler job %s is not %s: %s", job.name, "resumed" if on else "paused", error)
