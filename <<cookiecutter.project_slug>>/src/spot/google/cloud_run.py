"""Control the Cloud Run job that reconciles, and the Cloud Scheduler job of the same name that starts it."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from spot.core.errors import SpotError

if TYPE_CHECKING:  # settings name a job without loading google.auth
    from spot.google.rest import GoogleApi

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorJob:
    """Name the two jobs. Every method raises `GoogleApiError`."""

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

    def switch(self, api: "GoogleApi", *, on: bool) -> None:
        """Resume or pause Cloud Scheduler, which refuses to repeat either."""
        if (api.get("cloudscheduler", f"v1/{self.path}").get("state") == "ENABLED") != on:
            api.call("POST", "cloudscheduler", f"v1/{self.path}:{'resume' if on else 'pause'}", body={})

    def deploy(self, api: "GoogleApi", image: str) -> None:
        """Run this image from the next reconcile on."""
        job = api.get("run", f"v2/{self.path}")
        [container] = job["template"]["template"]["containers"]
        if container["image"] != image:
            container["image"] = image
            api.call("PATCH", "run", f"v2/{self.path}", body=job)


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
        from spot.google.rest import GoogleApi

        try:
            job.switch(GoogleApi.open(), on=on)
        except SpotError as error:
            _log.warning("Cloud Scheduler job %s is not %s: %s", job.name, "resumed" if on else "paused", error)
