"""Define runs, attempts and observations. No I/O and no clock."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from spot.core import fields
from spot.core.evaluation import Evaluation
from spot.core.history import Alarm, Cancel, CancelRequest, Decision, Parent, TrainingProgress
from spot.core.job import JobError, JobState


class Provisioning(StrEnum):
    SPOT = "spot"
    FLEX_START = "flex-start"
    ON_DEMAND = "on-demand"


class Strategy(StrEnum):
    HYBRID = "hybrid"
    """Spot while the deadline allows it, then on-demand."""
    SPOT = "spot"
    """Spot only: cheapest, without a promise about the deadline."""
    ON_DEMAND = "on-demand"

    @property
    def kinds(self) -> tuple[Provisioning, ...]:
        """Return the provisioning with separate quotas and prices; FLEX_START uses the quota of spot."""
        both = (Provisioning.SPOT, Provisioning.ON_DEMAND)
        return both if self is Strategy.HYBRID else (Provisioning(self),)


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    PREEMPTED = "preempted"
    NO_CAPACITY = "no-capacity"
    """The attempt never ran: no machine was available."""
    QUOTA = "quota"
    TRAINING_FAILED = "training-failed"
    OUT_OF_MEMORY = "out-of-memory"
    INTERNAL = "internal"
    PERMISSION = "permission"
    """A permission is missing: the run stays open until it is granted."""
    REQUEST_REJECTED = "request-rejected"
    """Vertex AI rejects this request in this region, and would reject it again."""
    EXPIRED = "expired"
    """The timeout of the job ran out, or the longest wait for FLEX_START."""
    CANCELLED = "cancelled"
    HANDED_OVER = "handed-over"
    """A standby replaced the attempt."""
    UNKNOWN = "unknown"


class RunState(StrEnum):
    OPEN = "open"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Describe the machines of an attempt, which are all alike."""

    count: fields.Machines = 1
    type: fields.MachineType
    accelerator: fields.Accelerator | None
    accelerator_count: fields.Gpus
    """GPUs of each machine, 0 without an accelerator."""
    boot_disk_gb: fields.Count
    boot_disk_type: fields.DiskType = ""
    """Empty: Vertex AI chooses."""

    @property
    def ranks(self) -> int:
        """Return the GPUs of all machines, or the machines without a GPU: the ranks by default."""
        return self.count * max(self.accelerator_count, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """Hold the settings of the policy, pinned at submit."""

    strategy: Strategy
    regions: tuple[fields.Region, ...]
    """Ordered by preference among regions of equal price."""
    hand_over: bool
    """Whether a spot standby may replace an on-demand attempt. Needs quota for both."""
    flex_start: bool
    """Whether FLEX_START follows a round of spot without capacity."""
    work: fields.Work
    """Duration of the whole training, with its evaluations and results; the measured rate replaces it."""
    work_is_measured: bool
    """Whether a succeeded run measured `work`. A stated duration counts double until a checkpoint measures it."""
    tail: timedelta
    """Measured duration of the last save and the results, a part of `work`; zero if no run measured it."""
    provisioning_timeout: timedelta
    expected_start: timedelta
    """From submit to the first new step, until a start was observed."""
    worst_start: timedelta
    """The same in the worst case, for on-demand."""
    reconcile_interval: timedelta
    max_checkpoint_interval: timedelta
    """Most training time that a preemption can cost: one interval and one save, until a manifest states both."""
    saved_share: fields.Share
    """Share of preemptions before which the trainer saved on SIGTERM; 0 unless preemptions were observed."""
    reserve: timedelta
    """Slack above the safety margin at which on-demand starts, so that a spot standby can still replace it."""
    max_preemptions: fields.Count | None
    max_errors: fields.Count
    disable_retries: bool
    """Whether Vertex AI must not restart spot attempts inside a job."""
    budget_usd: fields.Quantity | None
    usd_per_hour: Mapping[fields.Region, Mapping[Provisioning, fields.Quantity]]
    """By region; a missing entry has no known price."""
    error_lag: timedelta = timedelta(minutes=3)
    """Longest wait for the error of a failed job. Vertex AI sets it about a minute after the end."""
    grace: timedelta | None = None
    """Measured time from SIGTERM to SIGKILL, if it is shorter than the trainer assumes."""

    def price(self, region: str, provisioning: Provisioning) -> float | None:
        """Return $/h, None if it is not known."""
        return self.usd_per_hour.get(region, {}).get(provisioning)

    @property
    def unpriced(self) -> list[str]:
        return [region for region in self.regions if not self.usd_per_hour.get(region)]

    def cheapest_first(self, provisioning: Provisioning) -> list[str]:
        """Return the regions by price, those without a known price last."""
        return sorted(self.regions, key=lambda region: self.price(region, provisioning) or math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Hold the request of a run, pinned at submit."""

    project: fields.Project
    root: fields.Root
    """URI of the project, as `gs://bucket/prefix`."""
    image: fields.Image
    arguments: tuple[str, ...]
    """Flags of the trainer as they were given, without locations, run and attempt."""
    machine: Machine
    service_account: fields.ServiceAccount
    deadline: datetime
    policy: PolicyConfig
    dataset: fields.DatasetName | None = None
    """The record of the data that `--data` named at submit; None for the sample in the image."""
    champion: fields.ChampionPin | None = None
    """The run whose model was in use at submit, and a checksum of the files."""
    sources: fields.Sha256 | None = None
    """Digest of everything that the image was built from; None if it is not known to be that of the checkout."""

    @property
    def flags(self) -> dict[str, str]:
        """Return the values of `arguments` by flag."""
        return dict(zip(self.arguments[::2], self.arguments[1::2], strict=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Record one CustomJob of a run, from the intent to create it to its outcome."""

    id: fields.Id
    provisioning: Provisioning
    region: fields.Region
    intended_at: datetime
    timeout: timedelta
    from_step: fields.Count
    """Step of the run when the attempt was decided."""
    replaces: fields.Id | None = None
    """The active attempt that this standby is to replace."""
    job: fields.JobName | None = None
    """Resource name of the job; None until the create is known to have taken effect."""
    state: JobState = JobState.UNSPECIFIED
    started_at: datetime | None = None
    trainer_started_at: datetime | None = None
    """When the trainer started, by its marker: the machine was there, the image was pulled."""
    advanced_at: datetime | None = None
    """When the attempt made its first new step, by its checkpoints."""
    saved_at: datetime | None = None
    """When the newest checkpoint was taken. Later work is lost, unless the run completed."""
    steps_per_hour: fields.Quantity = 0.0
    """Rate of this attempt, by its newest checkpoint; 0 if not known."""
    saving: timedelta = timedelta()
    """Time that training paused for checkpoints."""
    ended_at: datetime | None = None
    last_step: fields.Count | None = None
    starts: fields.Count = 0
    """Starts of the trainer; more than one if Vertex AI restarted it inside the job."""
    cancel: Cancel | None = None
    outcome: Outcome | None = None
    error: JobError | None = None

    @property
    def never_created(self) -> bool:
        """Return whether the create was lost, or told to try again later."""
        return self.job is None and self.outcome is Outcome.UNKNOWN

    def billed_hours(self, now: datetime) -> float:
        """Return an upper bound: a job is not billed while it waits for a machine."""
        ended_at = self.ended_at or now
        return max(ended_at - self.started_at, timedelta()) / timedelta(hours=1) if self.started_at else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    id: fields.Id
    spec: Spec
    submitted_at: datetime
    parent: Parent | None = None
    state: RunState = RunState.OPEN
    ended_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    decisions: tuple[Decision, ...] = ()
    cancel_request: CancelRequest | None = None
    alarms: tuple[Alarm, ...] = ()
    """What broke the promise of the deadline, each condition once."""

    @property
    def active_attempts(self) -> tuple[Attempt, ...]:
        """Return the attempts without an outcome: at most one, and its standby during a hand-over."""
        return tuple([attempt for attempt in self.attempts if attempt.outcome is None])

    @property
    def active(self) -> Attempt | None:
        """Return the older active attempt."""
        return next(iter(self.active_attempts), None)

    @property
    def standby(self) -> Attempt | None:
        """Return the newer active attempt, if there are two."""
        return next(iter(self.active_attempts[1:]), None)

    @property
    def preemptions(self) -> int:
        """Return the count of preemptions, including restarts inside a job."""
        return sum(max(one.starts - 1, 0) + (one.outcome is Outcome.PREEMPTED) for one in self.attempts)

    def attempt(self, attempt_id: str | None) -> Attempt | None:
        return next((one for one in self.attempts if one.id == attempt_id), None) if attempt_id else None

    @property
    def model(self) -> str:
        """Return the URI of the model, once there is one."""
        return f"{self.spec.root}/models/{self.id}"

    def with_attempt(self, attempt: Attempt) -> Self:
        return replace(self, attempts=tuple(attempt if one.id == attempt.id else one for one in self.attempts))

    def with_policy(self, **changes: Any) -> Self:
        return replace(self, spec=replace(self.spec, policy=replace(self.spec.policy, **changes)))

    def usd_spent(self, now: datetime) -> float | None:
        """Return the cost so far, None if a price is not known."""
        total = 0.0
        for attempt in self.attempts:
            if hours := attempt.billed_hours(now):
                price = self.spec.policy.price(attempt.region, attempt.provisioning)
                if price is None:
                    return None
                total += hours * price
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Hold what the bucket says of a run."""

    progress: TrainingProgress | None = None
    """None before the first checkpoint."""
    writer: str | None = None
    """The attempt that holds the lease. Read only for runs that had a standby."""
    completed_at: datetime | None = None
    """Time of the completion record: the model is durable."""
    evaluation: Evaluation | None = None

    @property
    def step(self) -> int:
        return self.progress.step if self.progress else 0
