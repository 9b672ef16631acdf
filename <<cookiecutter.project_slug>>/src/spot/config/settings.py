"""spot.toml: read, checked as a whole, and turned into what a run is made of (docs/settings.md lists the keys)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from spot.config import flags
from spot.config.schema import Checked, check
from spot.core.errors import SpotError
from spot.core.fields import shown
from spot.core.run import Machine, PolicyConfig, Spec, Strategy
from spot.pricing import quotes
from spot.pricing.table import PriceTable, beside, packaged


class SettingsError(SpotError):
    """The settings cannot be used. One line for each mistake, all of them."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("\n".join(lines))

    @property
    def lines(self) -> list[str]:
        """Return one line for each mistake."""
        return str(self).split("\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSettings:
    """Where things are."""

    project: str
    regions: tuple[str, ...]
    bucket: str
    prefix: str
    service_account: str
    image: str
    """Empty: it is given at submit."""
    vertex_endpoint: str
    """A URL, in which {region} stands for the region."""
    storage_endpoint: str
    """Empty: Google's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The table [machine], as it is written."""

    type: str
    accelerator: str
    accelerator_count: int
    boot_disk_gb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    cron: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """The table [policy]; `PolicyConfig` says what each means."""

    strategy: Strategy
    deadline_hours: float
    """From submit."""
    work_hours: float
    hand_over: bool
    flex_start: bool
    provisioning_timeout_minutes: float
    expected_start_minutes: float
    worst_start_minutes: float
    reconcile_interval_minutes: float
    max_checkpoint_interval_minutes: float
    save_seconds: float | None
    """Until a checkpoint is durable; None if nobody has said."""
    reserve_minutes: float
    max_preemptions: int | None
    max_errors: int
    vertex_restarts: bool
    budget_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of this project's runs."""

    name: str
    cloud: CloudSettings
    hardware: Hardware
    schedule: Schedule
    policy: PolicySettings
    training: Mapping[str, str | float | bool]
    """The trainer's flags, without their dashes."""
    folder: Path | None = field(default=None, compare=False)
    """Where the file lies, and the project's own prices; None for a text, which has none."""

    @property
    def root(self) -> str:
        """The URI that everything of this project lies below."""
        return f"gs://{self.cloud.bucket}/{self.cloud.prefix}"

    def machine(self) -> Machine:
        """Without accelerators their count is 0."""
        accelerator = None if self.hardware.accelerator == "none" else self.hardware.accelerator
        return Machine(
            type=self.hardware.type,
            accelerator=accelerator,
            accelerator_count=self.hardware.accelerator_count if accelerator else 0,
            boot_disk_gb=self.hardware.boot_disk_gb,
        )

    def price_table(self) -> PriceTable:
        """Raises `PriceError` if the project's own cannot be read."""
        return beside(self.folder) if self.folder else packaged()

    def policy_config(self, **overrides: Any) -> PolicyConfig:
        """`overrides` are fields of `PolicyConfig`; the prices are those of the regions that result. Raises `PriceError`."""
        stated = self.policy
        policy = PolicyConfig(
            strategy=stated.strategy,
            regions=self.cloud.regions,
            hand_over=stated.hand_over,
            flex_start=stated.flex_start,
            work=timedelta(hours=stated.work_hours),
            provisioning_timeout=timedelta(minutes=stated.provisioning_timeout_minutes),
            expected_start=timedelta(minutes=stated.expected_start_minutes),
            worst_start=timedelta(minutes=stated.worst_start_minutes),
            reconcile_interval=timedelta(minutes=stated.reconcile_interval_minutes),
            max_checkpoint_interval=timedelta(minutes=stated.max_checkpoint_interval_minutes),
            reserve=timedelta(minutes=stated.reserve_minutes),
            max_preemptions=stated.max_preemptions,
            max_errors=stated.max_errors,
            disable_retries=not stated.vertex_restarts,
            budget_usd=stated.budget_usd,
            usd_per_hour=quotes.by_region(
                self.machine(), overrides.get("regions", self.cloud.regions), self.price_table()
            ),
        )
        return replace(policy, **overrides)

    def spec(self, *, image: str, arguments: tuple[str, ...], deadline: datetime, policy: PolicyConfig) -> Spec:
        """Of a run of this project."""
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
        """How long it takes until a checkpoint is durable, None if nobody has said."""
        seconds = self.policy.save_seconds
        return None if seconds is None else timedelta(seconds=seconds)

    def arguments(self) -> tuple[str, ...]:
        """The trainer's command line, without what the supervisor adds."""
        return tuple(part for flag, value in self.training.items() for part in (f"--{flag}", flags.word(value)))


def load(path: Path) -> Settings:
    """Raises `SettingsError`."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _one(path, "there is no such file: run spot in the folder of the project, where spot.toml lies") from None
    except IsADirectoryError:
        raise _one(path, "this is a folder: name the file in it") from None
    except OSError as error:
        raise _one(path, f"it cannot be read ({error.strerror}): see to its permissions") from None
    try:
        return replace(parse(content.decode("utf-8-sig"), str(path)), folder=path.parent)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _one(path, f"line {line} is not UTF-8 (byte 0x{content[error.start]:02x}): save it as UTF-8") from None


def parse(text: str, name: str) -> Settings:
    """`name` is the file's, for the messages. Raises `SettingsError`."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise _one(name, "its values lie too deep in one another to be read") from None
    except ValueError as error:
        raise _one(name, _syntax(str(error), text)) from None
    checked = check(document)
    if checked.mistakes:
        raise SettingsError(tuple(f"{_printable(name)}: {mistake}" for mistake in checked.mistakes))
    return _settings(checked)


def _settings(checked: Checked) -> Settings:
    cloud = CloudSettings(**checked.tables["cloud"])
    if not cloud.service_account:
        cloud = replace(cloud, service_account=f"training@{cloud.project}.iam.gserviceaccount.com")
    return Settings(
        name=checked.name,
        cloud=cloud,
        hardware=Hardware(**checked.tables["machine"]),
        schedule=Schedule(**checked.tables["schedule"]),
        policy=PolicySettings(**checked.tables["policy"]),
        training=checked.training,
    )


def _syntax(message: str, text: str) -> str:
    found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    said = ascii(message[: found.start()] if found else message)[1:-1]
    if found is None:  # Python's limit on the digits of a number, with advice for programmers after the colon
        return f"a value cannot be read: {said.partition(':')[0]}"
    line = found[1] or text.count("\n") + 1
    column = f", column {found[2]}" if found[2] else ""
    return f"line {line}{column} is not TOML: {said[:200]}"


def _one(name: Path | str, what: str) -> SettingsError:
    return SettingsError((f"{_printable(str(name))}: {what}",))


def _printable(name: str) -> str:
    return name if name.isprintable() else shown(name)
