"""The vocabulary: what a run is, and what is known of it. No I/O and no clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from spot.core.job import JobError, JobState


class Provisioning(StrEnum):
    """How the machine of an attempt is obtained."""

    SPOT = "spot"
    FLEX_START = "flex-start"
    ON_DEMAND = "on-demand"


class Strategy(StrEnum):
    """Which kinds of provisioning a run may use."""

    HYBRID = "hybrid"
    """Spot as long as the deadline allows, then on-demand."""
    SPOT = "spot"
    """Nothing but spot: cheapest, and no deadline is promised."""
    ON_DEMAND = "on-demand"


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    PREEMPTED = "preempted"
    """It ran, and its machine was taken away."""
    NO_CAPACITY = "no-capacity"
    """It never ran: there was no machine to be had."""
    QUOTA = "quota"
    TRAINING_FAILED = "training-failed"
    OUT_OF_MEMORY = "out-of-memory"
    INTERNAL = "internal"
    REQUEST_REJECTED = "request-rejected"
    """Vertex AI refuses such a job; it would again."""
    EXPIRED = "expired"
    """Its time ran out: the job's timeout, or the longest wait for FLEX_START."""
    CANCELLED = "cancelled"
    HANDED_OVER = "handed-over"
    """Another attempt has relieved it."""
    UNKNOWN = "unknown"


class RunState(StrEnum):
    OPEN = "open"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class CancelReason(StrEnum):
    """Why the supervisor cancels an attempt."""

    NO_CAPACITY = "no-capacity"
    """It waited for a machine for too long."""
    FALLBACK = "fallback"
    """The deadline needs on-demand now."""
    ASKED = "asked"
    """Somebody cancelled the run."""
    COMPLETE = "complete"
    """The model is complete, and the job did not end by itself."""
    HANDED_OVER = "handed-over"
    """Another attempt has relieved it, and the job did not end by itself."""
    FAILED = "failed"
    """The run has failed while a twin was there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine of the single worker pool."""

    type: str
    accelerator: str | None
    accelerator_count: int
    boot_disk_gb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """What the policy goes by."""

    strategy: Strategy
    regions: tuple[str, ...]
    """The cheapest is asked first; this order decides between equals."""
    hand_over: bool
    """Whether a spot attempt may start beside one on demand, to relieve it: that needs quota for both."""
    flex_start: bool
    """Whether FLEX_START is tried after a round of spot without capacity."""
    work: timedelta
    """How long training takes, from nothing to the end; replaced by the measured rate once there is one."""
    provisioning_timeout: timedelta
    """The longest wait for a machine in one region."""
    expected_start: timedelta
    """From submit to the first new step, before any start was seen."""
    worst_start: timedelta
    """The same in the worst case, on demand."""
    reconcile_interval: timedelta
    """The longest time between two passes of reconcile."""
    max_checkpoint_interval: timedelta
    """The most training time that a preemption can cost: the time between two checkpoints, and that of a save."""
    reserve: timedelta
    """On-demand starts with so much slack above the safety line that it can still be relieved by spot."""
    max_preemptions: int | None
    max_errors: int
    disable_retries: bool
    """Whether Vertex AI is asked not to restart spot attempts by itself."""
    budget_usd: float | None
    usd_per_hour: Mapping[str, Mapping[Provisioning, float]]
    """By region; what is not there has no known price."""

    def price(self, region: str, provisioning: Provisioning) -> float | None:
        """$/h, None if it is not known."""
        return self.usd_per_hour.get(region, {}).get(provisioning)

    @property
    def unpriced(self) -> list[str]:
        """The regions of which no price is known."""
        return [region for region in self.regions if not self.usd_per_hour.get(region)]

    def cheapest_first(self, provisioning: Provisioning) -> list[str]:
        """The regions: of equal price as they are stated, without a known one last."""
        prices = self.usd_per_hour
        return sorted(self.regions, key=lambda region: prices.get(region, {}).get(provisioning, math.inf))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What was asked for, pinned at submit."""

    project: str
    """The Google Cloud project."""
    root: str
    """The URI that everything of this project lies below, as `gs://bucket/prefix`."""
    image: str
    """By digest."""
    arguments: tuple[str, ...]
    """The trainer's flags, without those that say where things are and which run and attempt this is."""
    machine: Machine
    service_account: str
    deadline: datetime
    policy: PolicyConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """An intent to cancel; the call is repeated until the job has ended."""

    at: datetime
    why: CancelReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One CustomJob of a run, from the intent to create it to its outcome."""

    id: str
    provisioning: Provisioning
    region: str
    intended_at: datetime
    timeout: timedelta
    from_step: int
    """Where the run stood when it was decided."""
    replaces: str | None = None
    """The attempt that it starts beside, to take its work over."""
    job: str | None = None
    """Its resource name; None until the create is known to have taken effect."""
    state: JobState = JobState.UNSPECIFIED
    started_at: datetime | None = None
    trainer_started_at: datetime | None = None
    """When its trainer began, as that wrote: the machine was there, the image was pulled."""
    advanced_at: datetime | None = None
    """When it made its first new step, as its checkpoints tell."""
    saved_at: datetime | None = None
    """When its newest checkpoint was taken: what it did after that is lost, unless it completed."""
    saving: timedelta = timedelta()
    """How long its training stood still for checkpoints."""
    ended_at: datetime | None = None
    last_step: int | None = None
    """Where the run stood when it ended."""
    starts: int = 0
    """How often its trainer was started: more than once if Vertex AI restarted it inside the job."""
    cancel: Cancel | None = None
    outcome: Outcome | None = None
    error: JobError | None = None

    @property
    def never_created(self) -> bool:
        """It ended before it began: the create was lost, or told to come again later."""
        return self.job is None and self.outcome is Outcome.UNKNOWN

    @property
    def refused(self) -> bool:
        """Vertex AI would not even create it."""
        return self.job is None and self.outcome is Outcome.REQUEST_REJECTED

    def billed_hours(self, now: datetime) -> float:
        """Upper bound: a job is not billed while it waits, nor while it is preempted inside the job."""
        if self.started_at is None:
            return 0.0
        return max((self.ended_at or now) - self.started_at, timedelta()) / timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was done, and why."""

    at: datetime
    action: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    """Somebody wants the run to end."""

    at: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One retraining."""

    id: str
    spec: Spec
    submitted_at: datetime
    state: RunState = RunState.OPEN
    ended_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    decisions: tuple[Decision, ...] = ()
    cancel_request: CancelRequest | None = None

    @property
    def active_attempts(self) -> tuple[Attempt, ...]:
        """The attempts that have no outcome yet: at most one, and during a warm hand-over its twin."""
        return tuple(attempt for attempt in self.attempts if attempt.outcome is None)

    @property
    def active(self) -> Attempt | None:
        """The older of them."""
        return next(iter(self.active_attempts), None)

    @property
    def standby(self) -> Attempt | None:
        """The one that is to relieve the older one, while both live."""
        return self.active_attempts[1] if len(self.active_attempts) > 1 else None

    @property
    def preemptions(self) -> int:
        """Machines taken away, those included that Vertex AI replaced inside a job without telling."""
        inside = sum(max(attempt.starts - 1, 0) for attempt in self.attempts)
        return inside + sum(attempt.outcome is Outcome.PREEMPTED for attempt in self.attempts)

    def attempt(self, attempt_id: str | None) -> Attempt | None:
        """The one of this id."""
        return next((one for one in self.attempts if one.id == attempt_id), None) if attempt_id else None

    @property
    def model(self) -> str:
        """Where it lies, once there is one."""
        return f"{self.spec.root}/models/{self.id}"

    def with_attempt(self, attempt: Attempt) -> Run:
        """The same run with this attempt, one of its own, as it is now."""
        return replace(self, attempts=tuple(attempt if one.id == attempt.id else one for one in self.attempts))

    def usd_spent(self, now: datetime) -> float | None:
        """None if some of it has no known price."""
        total = 0.0
        for attempt in self.attempts:
            if hours := attempt.billed_hours(now):
                price = self.spec.policy.price(attempt.region, attempt.provisioning)
                if price is None:
                    return None
                total += hours * price
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """Where training stands, from the newest manifest."""

    attempt: str
    """The one that wrote it."""
    step: int
    total_steps: int
    trained: timedelta
    """Time in training so far, over all attempts, without what was lost."""
    steps_per_hour: float
    """Since the start that wrote it; 0 if not known."""
    at: datetime
    """When that checkpoint was taken."""
    from_step: int | None = None
    """Where the start that wrote it began; None if not known."""
    saving: timedelta = timedelta()
    """How long training stood still for checkpoints, since that start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the bucket says of a run."""

    progress: TrainingProgress | None = None
    """None before the first checkpoint."""
    writer: str | None = None
    """The attempt that holds the lease, without which no checkpoint counts. Looked for once a twin was there."""
    completed_at: datetime | None = None
    """When the completion manifest was written: the model is there."""
