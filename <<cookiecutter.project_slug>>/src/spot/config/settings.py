"""Define every key of spot.toml with its bounds and default; docs/settings.md explains each."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from spot.config import training
from spot.core import fields, typed
from spot.core.run import Machine, PolicyConfig, Spec, Strategy
from spot.google.cloud_run import SupervisorJob
from spot.google.machine_types import wrong_accelerator, wrong_count
from spot.pricing import quotes
from spot.pricing.table import PriceTable, beside, packaged
from spot.storage.records.reconciles import interval

_STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True, regex_engine="python-re")
"""No conversions: a number in quotes is a mistake. Each description states what is allowed."""


def _text(pattern: str, allowed: str, default: Any = ..., *, most: int = 500) -> Any:
    return Field(default, pattern=rf"\A(?:{pattern})\Z", max_length=most, validate_default=True, description=allowed)


def _number(most: float) -> Any:
    return Field(ge=0.01, le=most, allow_inf_nan=False, description=f"a number from 0.01 to {most:g}")


def _word_or(word: str, allowed: str) -> Any:
    return Field(word, description=f'"{word}", or {allowed}')


Hours = Annotated[float, _number(8760)]
Minutes = Annotated[float, _number(10080)]
Count = Annotated[int, Field(ge=0, le=1_000_000, description="a whole number from 0 to 1000000")]
Truth = Annotated[bool, Field(description="true or false")]
_IMAGE = rf"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}})?(@{fields.DIGEST.pattern})?"
RegionName = Annotated[str, Field(pattern=rf"\A{fields.REGION.pattern}\Z")]


class CloudSettings(BaseModel):
    """State where everything is: the table [cloud]."""

    model_config = _STRICT

    project: str = _text(fields.PROJECT.pattern, "an id: 6 to 30 of a-z, 0-9 and -, a letter first, no - last")
    regions: tuple[RegionName, ...] = Field(
        strict=False,  # TOML has lists only
        min_length=1,
        max_length=fields.MAX_REGIONS,
        description=f'a list of 1 to {fields.MAX_REGIONS} regions, not zones, as in ["us-central1", "us-east4"]',
    )
    bucket: str = _text(
        rf"{fields.BUCKET.pattern}|/[^\x00-\x1f]+",
        "3 to 63 of a-z, 0-9, - _ and ., a letter or digit at both ends; no gs://, no IP address, no google",
    )
    """Or the absolute path of a directory that `spot rehearse --keep` wrote."""
    prefix: str = _text(
        r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*",
        "1 to 200 letters, digits and . _ -, a letter or digit first; / between folders, none at the ends",
        most=200,
    )
    service_account: str = _text(
        fields.SERVICE_ACCOUNT.pattern,
        "the e-mail address of a service account, such as training@my-project.iam.gserviceaccount.com",
        default="",
        most=200,
    )
    image: str = _text(
        f"{_IMAGE}|",
        "HOST/PATH, then :TAG, @sha256: and 64 hexadecimal digits, or nothing",
        default="",
    )
    """Empty: submit names the image."""
    supervisor: Literal["cloud-run", "github"] = Field("cloud-run", description='"cloud-run" or "github"')

    @field_validator("regions")
    @classmethod
    def _each_once(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(regions)) < len(regions):
            raise ValueError("each region once")
        return regions

    @field_validator("service_account")
    @classmethod
    def _default_account(cls, address: str, info: ValidationInfo) -> str:
        return address or f"training@{info.data.get('project')}.iam.gserviceaccount.com"

    @property
    def supervisor_job(self) -> SupervisorJob | None:
        is_there = self.supervisor == "cloud-run" and not self.bucket.startswith("/")
        return SupervisorJob.of(self.project, self.regions[0], self.prefix) if is_there else None


class MachineSettings(BaseModel):
    """State the machines of every attempt: the table [machine]."""

    model_config = _STRICT

    count: int = Field(1, ge=1, le=fields.MAX_MACHINES, description=f"a whole number from 1 to {fields.MAX_MACHINES}")
    type: str = _text(fields.MACHINE_TYPE.pattern, "a machine type of Compute Engine, such as g2-standard-8", most=63)
    accelerator: str = _text(
        f"none|{fields.ACCELERATOR.pattern}", '"none", or a GPU by its name in Vertex AI, such as NVIDIA_L4', most=63
    )
    accelerator_count: int = Field(
        1, ge=1, le=fields.MAX_GPUS, validate_default=True, description=f"a whole number from 1 to {fields.MAX_GPUS}"
    )
    boot_disk_gb: int = Field(100, ge=100, le=64_000, description="a whole number from 100 to 64000")
    boot_disk_type: str = _text(
        fields.DISK_TYPE.pattern, '"" for Vertex AI\'s choice, or as pd-ssd', default="", most=41
    )

    @field_validator("accelerator")
    @classmethod
    def _fits_the_type(cls, accelerator: str, info: ValidationInfo) -> str:
        machine_type = info.data.get("type")
        if machine_type and (allowed := wrong_accelerator(machine_type, accelerator)):
            raise ValueError(allowed)
        return accelerator

    @field_validator("accelerator_count")
    @classmethod
    def _fits_the_machine(cls, count: int, info: ValidationInfo) -> int:
        machine_type, accelerator = info.data.get("type"), info.data.get("accelerator", "none")
        if machine_type and accelerator != "none" and (allowed := wrong_count(machine_type, accelerator, count)):
            raise ValueError(allowed)
        return count


class PolicySettings(BaseModel):
    """State deadline, provisioning and budget: the table [policy]. `PolicyConfig` explains each value."""

    model_config = _STRICT

    strategy: Strategy = Field(Strategy.HYBRID, strict=False, description=f"one of {', '.join(Strategy)}")
    deadline_hours: Hours
    work_hours: Hours
    hand_over: Truth = True
    flex_start: Truth = False
    provisioning_timeout_minutes: Minutes = 30
    expected_start_minutes: Minutes = 15
    worst_start_minutes: Minutes = 25
    reconcile_interval_minutes: Minutes | Literal["auto"] = _word_or("auto", "a number from 0.01 to 10080")
    max_checkpoint_interval_minutes: Minutes = 10
    save_seconds: Annotated[float, _number(86_400)] | Literal["unknown"] = _word_or(
        "unknown", "a number from 0.01 to 86400"
    )
    reserve_minutes: Minutes = 60
    max_preemptions: Count | Literal["unlimited"] = _word_or("unlimited", "a whole number from 0 to 1000000")
    max_errors: Count = 0
    vertex_restarts: Truth = False
    budget_usd: Annotated[float, _number(1_000_000)] | Literal["none"] = _word_or(
        "none", "a number from 0.01 to 1000000"
    )


class DataSettings(BaseModel):
    """State what submit requires of the objects that `training.data` names: the table [data]."""

    model_config = _STRICT

    min_objects: Count = 1
    min_bytes: Annotated[int, Field(ge=0, le=10**18, description="a whole number from 0 to 10^18")] = 1
    max_age_hours: Annotated[float, _number(100_000)] | Literal["none"] = _word_or(
        "none", "a number from 0.01 to 100000"
    )
    min_share_of_last_run: Annotated[
        float, Field(ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1")
    ] = 0.5


class GateSettings(BaseModel):
    """State when a new model replaces the champion: the table [gate]."""

    model_config = _STRICT

    margin: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False, description="a number above 0")] = 0.01
    threshold: Annotated[float, Field(ge=-1e150, le=1e150, allow_inf_nan=False)] | Literal["none"] = _word_or(
        "none", "a number"
    )


class RegistrySettings(BaseModel):
    """State where else the champion is shown: the table [registry]."""

    model_config = _STRICT

    model_id: str = _text(r"[a-z][a-z0-9_-]{0,62}", '"none", or 1 to 63 of a-z, 0-9, _ and -, a letter first', "none")
    serving_image: str = _text(f"none|{_IMAGE}", '"none", or HOST/PATH, then :TAG or @sha256: and a digest', "none")


class Settings(BaseModel):
    model_config = _STRICT

    name: str = _text(
        r"\w(?:[\w .,-]{0,58}[\w.])?",
        "1 to 60 letters, digits, spaces and . , - _, from a letter or digit to a letter, digit or .",
    )
    cloud: CloudSettings = Field(description="a table, [cloud]")
    hardware: MachineSettings = Field(alias="machine", description="a table, [machine]")
    policy: PolicySettings = Field(description="a table, [policy]")
    data: DataSettings = Field(description="a table, [data]")
    gate: GateSettings = Field(description="a table, [gate]")
    registry: RegistrySettings = Field(description="a table, [registry]")
    config: type | None = Field(None, exclude=True, description="not a setting")
    """The class `Config` of the task, set by `load`. TOML cannot express a class."""
    folder: Path | None = Field(None, exclude=True, description="not a setting")
    """The folder of spot.toml, set by `load`."""
    model: dict[str, Any] = Field({}, description="a table, [model]")
    """The task's own settings by name."""
    training: dict[str, Any] = Field({}, description="a table, [training]")
    """Flags of the trainer and the task's own, by name, without dashes."""

    @field_validator("model", "training")
    @classmethod
    def _trainer_accepts(cls, values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        policy = info.data.get("policy")
        limits = (policy.strategy, policy.max_checkpoint_interval_minutes) if policy else ()
        if lines := training.mistakes(str(info.field_name), values, info.data.get("config"), *limits):
            raise ValueError("\n".join(lines))
        return values

    @property
    def root(self) -> str:
        """Return the URI above every object of the project."""
        kept = self.cloud.bucket.startswith("/")
        return f"{'' if kept else 'gs://'}{self.cloud.bucket}/{self.cloud.prefix}"

    def machine(self) -> Machine:
        """Return the machines of every attempt; without an accelerator its count is 0."""
        accelerator = None if self.hardware.accelerator == "none" else self.hardware.accelerator
        return Machine(
            count=self.hardware.count,
            type=self.hardware.type,
            accelerator=accelerator,
            accelerator_count=self.hardware.accelerator_count if accelerator else 0,
            boot_disk_gb=self.hardware.boot_disk_gb,
            boot_disk_type=self.hardware.boot_disk_type,
        )

    def price_table(self) -> PriceTable:
        """Return the packaged prices with the project's own on top. Raise `SpotError`."""
        return beside(self.folder) if self.folder else packaged()

    def policy_config(self) -> PolicyConfig:
        """Return the policy with the prices of its regions. Raise `SpotError`."""
        stated = self.policy
        return PolicyConfig(
            strategy=stated.strategy,
            regions=self.cloud.regions,
            hand_over=stated.hand_over,
            flex_start=stated.flex_start,
            work=timedelta(hours=stated.work_hours),
            work_is_measured=False,
            tail=timedelta(),
            provisioning_timeout=timedelta(minutes=stated.provisioning_timeout_minutes),
            expected_start=timedelta(minutes=stated.expected_start_minutes),
            worst_start=timedelta(minutes=stated.worst_start_minutes),
            reconcile_interval=interval(self.cloud.supervisor, stated.reconcile_interval_minutes),
            max_checkpoint_interval=timedelta(minutes=stated.max_checkpoint_interval_minutes),
            saved_share=0.0,
            reserve=timedelta(minutes=stated.reserve_minutes),
            max_preemptions=None if stated.max_preemptions == "unlimited" else stated.max_preemptions,
            max_errors=stated.max_errors,
            disable_retries=not stated.vertex_restarts,
            budget_usd=None if stated.budget_usd == "none" else stated.budget_usd,
            usd_per_hour=quotes.by_region(self.machine(), self.cloud.regions, self.price_table()),
        )

    def spec(self, *, image: str, arguments: tuple[str, ...], deadline: datetime, policy: PolicyConfig) -> Spec:
        return Spec(
            project=self.cloud.project,
            root=self.root,
            image=image,
            arguments=arguments,
            machine=self.machine(),
            service_account=self.cloud.service_account,
            deadline=deadline,
            policy=policy,
        )

    @property
    def save(self) -> timedelta | None:
        """Return the time until a checkpoint is durable, None if it is unknown."""
        seconds = self.policy.save_seconds
        return None if seconds == "unknown" else timedelta(seconds=seconds)

    def arguments(self) -> tuple[str, ...]:
        """Return the flags of the trainer without those of the supervisor. The task's own are all pinned by value."""
        values = {**self.training, **{f"model.{name}": value for name, value in self.model.items()}}
        for key in typed.keys(self.config) if self.config else ():
            if key.default is not None:
                values.setdefault(key.flag, key.default)
        return tuple(part for flag, value in values.items() for part in (f"--{flag}", typed.word(value)))
