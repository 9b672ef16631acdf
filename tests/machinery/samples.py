"""Provide a run and its parts with plain values, so that a test states only what matters to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from spot.core.history import TrainingProgress
from spot.core.job import JobError, JobState
from spot.core.run import (
    Attempt,
    Machine,
    Observation,
    Outcome,
    PolicyConfig,
    Provisioning,
    Run,
    Spec,
    Strategy,
)
from spot.storage.records.manifest import Manifest

T0 = datetime(2026, 11, 24, tzinfo=UTC)
"""When every run is submitted."""

POLICY = PolicyConfig(
    strategy=Strategy.HYBRID,
    regions=("us-central1", "us-east4"),
    hand_over=True,
    flex_start=False,
    work=timedelta(hours=10),
    work_is_measured=True,
    tail=timedelta(),
    provisioning_timeout=timedelta(minutes=20),
    expected_start=timedelta(minutes=24),
    worst_start=timedelta(minutes=25),
    reconcile_interval=timedelta(minutes=15),
    max_checkpoint_interval=timedelta(minutes=10),
    reserve=timedelta(minutes=60),
    max_preemptions=None,
    max_errors=0,
    saved_share=0.0,
    disable_retries=True,
    budget_usd=None,
    usd_per_hour={
        "us-central1": {Provisioning.SPOT: 0.5, Provisioning.FLEX_START: 0.6, Provisioning.ON_DEMAND: 1.0},
        "us-east4": {Provisioning.SPOT: 0.6, Provisioning.FLEX_START: 0.6, Provisioning.ON_DEMAND: 1.2},
    },
)
SPEC = Spec(
    project="our-project",
    root="gs://bucket/prefix",
    image="us-docker.pkg.dev/our-project/images/trainer@sha256:" + "0" * 64,
    arguments=("--epochs", "20"),
    machine=Machine(type="g2-standard-8", accelerator="NVIDIA_L4", accelerator_count=1, boot_disk_gb=100),
    service_account="",
    deadline=T0 + timedelta(hours=24),
    policy=POLICY,
)
ATTEMPT = Attempt(
    id="a1",
    provisioning=Provisioning.SPOT,
    region="us-central1",
    intended_at=T0,
    timeout=timedelta(days=7),
    from_step=0,
    job="projects/1/locations/us-central1/customJobs/1",
    state=JobState.PENDING,
)


def after(*, hours: float = 0, minutes: float = 0) -> datetime:
    """Return the moment this long after submit."""
    return T0 + timedelta(hours=hours, minutes=minutes)


def policy(**changes: Any) -> PolicyConfig:
    return replace(POLICY, **changes)


def spec(**changes: Any) -> Spec:
    """Return a spec; names of `PolicyConfig` change its policy."""
    ours = {name: changes.pop(name) for name in [*changes] if name in PolicyConfig.__slots__}
    return replace(SPEC, **{"policy": policy(**ours), **changes})


def run(*attempts: Attempt, **changes: Any) -> Run:
    """`changes` are of `Run`, of its `Spec` or of its `PolicyConfig`; the attempts are numbered in order."""
    ours = {name: changes.pop(name) for name in [*changes] if name in Run.__slots__}
    numbered = tuple(replace(attempt, id=f"a{number}") for number, attempt in enumerate(attempts, 1))
    return Run(**{"id": "run-1", "spec": spec(**changes), "submitted_at": T0, "attempts": numbered, **ours})


def attempt(**changes: Any) -> Attempt:
    """Return a spot attempt in us-central1 that waits for its machine."""
    return replace(ATTEMPT, **changes)


def ended(outcome: Outcome, *, at: datetime = T0, **changes: Any) -> Attempt:
    """Return an attempt with this outcome."""
    states = {Outcome.SUCCEEDED: JobState.SUCCEEDED, Outcome.CANCELLED: JobState.CANCELLED}
    return attempt(**{"state": states.get(outcome, JobState.FAILED), "outcome": outcome, "ended_at": at, **changes})


def progress(done: float, *, at: datetime = T0, **changes: Any) -> TrainingProgress:
    """Training of 10 hours and 600 steps, `done` hours of which are safe, measured at the stated rate."""
    found = TrainingProgress(
        attempt="a1",
        step=round(done * 60),
        total_steps=600,
        trained=timedelta(hours=done),
        steps_per_hour=60,
        at=at,
    )
    return replace(found, **changes)


MANIFEST = Manifest(
    run="run",
    attempt="a1",
    start=1,
    token=1,
    from_step=0,
    from_token=0,
    step=0,
    total_steps=100,
    epoch=0,
    steps_per_second=1.0,
    compute_seconds=0.0,
    evaluation_seconds=0.0,
    longest_evaluation_seconds=0.0,
    evaluations_left=0,
    saving_seconds=0.0,
    save_seconds=0.0,
    interval_seconds=0.0,
    metrics={},
    score=None,
    time=datetime(2026, 1, 1, tzinfo=UTC),
    config={},
    data=(),
    shards=(),
)


def manifest(**changes: Any) -> Manifest:
    """Return the manifest of a checkpoint before the first evaluation, without parts."""
    return replace(MANIFEST, **changes)


def seen(
    done: float | None = None, *, completed_at: datetime | None = None, writer: str | None = None, **changes: Any
) -> Observation:
    """Return the state of the bucket: no checkpoint, or `progress(done, ...)`."""
    found = progress(done, **changes) if done is not None else None
    return Observation(progress=found, completed_at=completed_at, writer=writer)


def stockout(region: str = "us-central1") -> JobError:
    advice = "Try a different region or use a different accelerator."
    return JobError(code=8, message=f"Resources are insufficient in region: {region}. {advice}")


def no_quota(provisioning: Provisioning = Provisioning.SPOT, *, code: int = 429) -> JobError:
    kind = "" if provisioning is Provisioning.ON_DEMAND else "preemptible_"
    metric = f"aiplatform.googleapis.com/custom_model_training_{kind}nvidia_l4_gpus"
    return JobError(code=code, message=f"The following quota metrics exceed quota limits: {metric}")
