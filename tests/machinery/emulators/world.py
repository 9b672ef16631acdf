"""Provide an emulated Vertex AI on a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from spot.core.job import JobState
from spot.core.run import Provisioning
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.custom_job import EmulatedJob
from spot.emulators.job_lifecycle import Behaviour
from spot.emulators.jobs import JobTable
from tests.machinery.clocks import ManualClock
from tests.machinery.emulators.idle import IdleLauncher

PROJECT, REGION = "team-ml", "us-central1"
BEHAVIOUR = Behaviour(
    queued=timedelta(minutes=1),
    pending=timedelta(minutes=9),
    error_delay=timedelta(minutes=1),
    cancelling=timedelta(seconds=30),
    grace_s=15.0,
)
STRATEGIES = {Provisioning.ON_DEMAND: 3, Provisioning.SPOT: 4, Provisioning.FLEX_START: 6}


def custom_job(
    provisioning: Provisioning = Provisioning.SPOT,
    *,
    scheduling: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    machines: int = 1,
) -> dict[str, Any]:
    """Return a valid CustomJob in JSON."""
    pool = {
        "machineSpec": {"machineType": "g2-standard-8", "acceleratorType": 11, "acceleratorCount": 1},
        "replicaCount": "1",
        "containerSpec": {"imageUri": "example/trainer@sha256:0", "args": ["--epochs", "3"]},
    }
    return {
        "displayName": "retrain",
        "labels": labels or {},
        "jobSpec": {
            "workerPoolSpecs": [pool, {**pool, "replicaCount": str(machines - 1)}] if machines > 1 else [pool],
            "scheduling": {"strategy": STRATEGIES[provisioning], **(scheduling or {})},
        },
    }


@dataclass(slots=True)
class World:
    """Jobs in which nothing runs, on a clock that the test moves."""

    behaviour: Behaviour = BEHAVIOUR
    on_sigterm: int | None = 143
    clock: ManualClock = field(default_factory=ManualClock)
    capacity: EmulatedCapacity = field(default_factory=EmulatedCapacity)
    launcher: IdleLauncher = field(init=False)
    jobs: JobTable = field(init=False)

    def __post_init__(self) -> None:
        self.launcher = IdleLauncher(on_sigterm=self.on_sigterm)
        self.jobs = JobTable(self.capacity, self.launcher, self.clock, self.behaviour, monotonic=self.clock.monotonic)

    def create(self, provisioning: Provisioning = Provisioning.SPOT, **more: Any) -> str:
        return self.jobs.create(PROJECT, REGION, custom_job(provisioning, **more)).name

    def running(self, provisioning: Provisioning = Provisioning.SPOT, **more: Any) -> str:
        name = self.create(provisioning, **more)
        self.advance(minutes=10)
        assert self.state(name) is JobState.RUNNING
        return name

    def advance(self, **by: float) -> datetime:
        self.clock.advance(timedelta(**by))
        self.jobs.advance()
        return self.clock.now()

    def get(self, name: str) -> EmulatedJob:
        return self.jobs.get(name)

    def state(self, name: str) -> JobState:
        return self.jobs.get(name).state
