"""Answer for the Cloud Run job of the supervisor and its Cloud Scheduler job, which refuse what Google refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.machinery.google.google_server import Answer, Asked, GoogleServer, refusal


@dataclass(slots=True)
class SupervisorJobs:
    """Hold the state of the two jobs at `path`, and every change."""

    server: GoogleServer
    path: str
    """As projects/P/locations/L/jobs/NAME."""
    state: str = "PAUSED"
    image: str = "us-docker.pkg.dev/cloudrun/container/job"
    changes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        scheduler = f"/cloudscheduler/v1/{self.path}"
        self.server.answers |= {
            scheduler: lambda _: Answer({"name": self.path, "state": self.state}),
            f"{scheduler}:resume": lambda _: self._switch("resume", "PAUSED", "ENABLED"),
            f"{scheduler}:pause": lambda _: self._switch("pause", "ENABLED", "PAUSED"),
            f"/run/v2/{self.path}": self._job,
        }

    def _switch(self, verb: str, needed: str, then: str) -> Answer:
        if self.state != needed:
            return refusal(400, f"Job.state must be {needed}")
        self.state = then
        self.changes.append(verb)
        return Answer({"state": then})

    def _job(self, asked: Asked) -> Answer:
        if asked.method == "PATCH":
            sent: dict[str, Any] = json.loads(asked.body)
            self.image = sent["template"]["template"]["containers"][0]["image"]
            self.changes.append("deploy")
            return Answer({"name": "operations/1"})
        task = {"containers": [{"image": self.image}], "maxRetries": 0, "serviceAccount": "s@acme-ml"}
        return Answer({"name": self.path, "template": {"template": task}, "etag": "1"})
