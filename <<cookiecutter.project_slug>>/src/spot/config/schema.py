"""Every key of spot.toml, with its rule and its default, and what is wrong with a document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from typing import Any, Final

from spot.config import flags
from spot.config.cron import schedule
from spot.core import fields
from spot.core.fields import Rule, shown
from spot.core.run import Strategy
from spot.google.gpus import wrong_accelerator, wrong_count


class Missing(Enum):
    """In place of a default: the key has none, and must be there."""

    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One setting."""

    rule: Rule
    default: object = Missing.REQUIRED
    """As it would be written."""
    item: Rule | None = None
    """Of each item, where the value is a list."""
    convert: Callable[[Any], object] = field(default=lambda value: value)
    """From what is written, once the rules allow it."""


def _none_for(word: str) -> Callable[[Any], object]:
    return lambda value: None if value == word else value


_HOURS = fields.number(8760)
_MINUTES = fields.number(10080)
_COUNT = fields.whole(0, 1_000_000)

NAME: Final = Key(
    rule=fields.text(
        r"\w(?:[\w .,-]{0,58}[\w.])?",
        "1 to 60 letters, digits, spaces and . , - _, from a letter or digit to a letter, digit or .",
    )
)

TABLES: Final[Mapping[str, Mapping[str, Key]]] = {
    "cloud": {
        "project": Key(
            rule=fields.text(
                r"[a-z][a-z0-9-]{4,28}[a-z0-9]",
                "the project's id: 6 to 30 lower-case letters, digits and hyphens, a letter first, no hyphen last",
            )
        ),
        "regions": Key(rule=fields.regions, item=fields.region, convert=tuple),
        "bucket": Key(rule=fields.bucket),
        "prefix": Key(
            rule=fields.text(
                r"(?=.{1,200}$)[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*",
                "1 to 200 letters, digits and . _ -, a letter or digit first; / between folders, none at the ends",
            )
        ),
        "service_account": Key(
            rule=fields.text(
                r"(?=.{1,200}$)[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com|",
                "the e-mail address of a service account, as training@my-project.iam.gserviceaccount.com",
            ),
            default="",
        ),
        "image": Key(
            rule=fields.text(
                r"(?=.{1,500}$)[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?|",
                "HOST/PATH, then :TAG, @sha256: and 64 hexadecimal digits, or nothing",
            ),
            default="",
        ),
        "vertex_endpoint": Key(rule=fields.vertex_endpoint, default="https://{region}-aiplatform.googleapis.com"),
        "storage_endpoint": Key(rule=fields.storage_endpoint, default=""),
    },
    "machine": {
        "type": Key(
            rule=fields.text(
                r"(?=.{1,63}$)[a-z][a-z0-9]*(-[a-z0-9]+)+", "a machine type of Compute Engine, as g2-standard-8"
            )
        ),
        "accelerator": Key(
            rule=fields.text(
                r"none|NVIDIA_[A-Z0-9_]{1,50}", '"none", or the name that Vertex AI has for a GPU, as NVIDIA_L4'
            )
        ),
        "accelerator_count": Key(rule=fields.whole(1, 16), default=1),
        "boot_disk_gb": Key(rule=fields.whole(50, 64_000), default=100),
    },
    "schedule": {"cron": Key(rule=schedule)},
    "policy": {
        "strategy": Key(rule=fields.one_of(Strategy), default="hybrid", convert=Strategy),
        "deadline_hours": Key(rule=_HOURS, convert=float),
        "work_hours": Key(rule=_HOURS, convert=float),
        "hand_over": Key(rule=fields.truth, default=True),
        "flex_start": Key(rule=fields.truth, default=False),
        "provisioning_timeout_minutes": Key(rule=_MINUTES, default=20, convert=float),
        "expected_start_minutes": Key(rule=_MINUTES, default=24, convert=float),
        "worst_start_minutes": Key(rule=_MINUTES, default=25, convert=float),
        "reconcile_interval_minutes": Key(rule=_MINUTES, default=15, convert=float),
        "max_checkpoint_interval_minutes": Key(rule=_MINUTES, default=10, convert=float),
        "save_seconds": Key(
            rule=fields.word_or("unknown", fields.number(86_400)), default="unknown", convert=_none_for("unknown")
        ),
        "reserve_minutes": Key(rule=_MINUTES, default=60, convert=float),
        "max_preemptions": Key(
            rule=fields.word_or("unlimited", _COUNT), default="unlimited", convert=_none_for("unlimited")
        ),
        "max_errors": Key(rule=_COUNT, default=0),
        "vertex_restarts": Key(rule=fields.truth, default=False),
        "budget_usd": Key(
            rule=fields.word_or("none", fields.number(1_000_000)), default="none", convert=_none_for("none")
        ),
    },
}

ONLY_ON_DEMAND: Final = "true, or only with policy.strategy on-demand, because a preemption would lose everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A document after its check: whole only if there are no mistakes."""

    name: Any
    tables: Mapping[str, Mapping[str, Any]]
    """Converted; a value with a mistake is not there."""
    training: Mapping[str, Any]
    mistakes: tuple[str, ...]


def check(document: Mapping[str, Any]) -> Checked:
    """Every mistake in it, each in a line of plain ASCII."""
    mistakes: list[str] = []
    tables: dict[str, dict[str, Any]] = {}
    top = _values("", {"name": NAME}, document, mistakes)
    for table, keys in TABLES.items():
        found = _table(document, table, mistakes)
        tables[table] = {} if found is None else _values(f"{table}.", keys, found, mistakes)
        mistakes += [_unknown(f"{table}.", name, list(keys)) for name in found or {} if name not in keys]
    training = _table(document, "training", mistakes) or {}
    mistakes += _wrong_training(training)
    known = ["name", *TABLES, "training"]
    mistakes += [_unknown("", name, known) for name in document if name not in known]
    mistakes += _wrong_together(tables["machine"], tables["policy"], training)
    return Checked(name=top.get("name"), tables=tables, training=training, mistakes=tuple(mistakes))


def _table(document: Mapping[str, Any], name: str, mistakes: list[str]) -> Mapping[str, Any] | None:
    """Empty if it is not there, None if it is something else."""
    found = document.get(name, {})
    if isinstance(found, Mapping):
        return found
    mistakes.append(f"{name} is {shown(found)}: a table, [{name}]")
    return None


def _values(prefix: str, keys: Mapping[str, Key], found: Mapping[str, Any], mistakes: list[str]) -> dict[str, Any]:
    """The values without mistakes, converted, defaults included."""
    values = {}
    for name, key in keys.items():
        value = found.get(name, key.default)
        wrong = list(_wrong(f"{prefix}{name}", key, value))
        mistakes += wrong
        if not wrong:
            values[name] = key.convert(value)
    return values


def _wrong(name: str, key: Key, value: object) -> Iterator[str]:
    allowed = key.rule(value)
    if value is Missing.REQUIRED:
        yield f"{name} is missing: {allowed}"
    elif allowed is not None:
        yield f"{name} is {shown(value)}: {allowed}"
    elif key.item is not None and isinstance(value, list):
        for index, item in enumerate(value):
            allowed = key.item(item)
            if allowed is not None:
                yield f"{name}[{index}] is {shown(item)}: {allowed}"


def _unknown(prefix: str, name: str, known: list[str]) -> str:
    here = f"{prefix}{_bare(name)}"
    nearest = get_close_matches(name, known, n=1)
    elsewhere = [f"{table}.{name}" for table, keys in TABLES.items() if name in keys]
    if nearest:
        return f"{here} is not a setting: did you mean {prefix}{nearest[0]}?"
    if elsewhere:
        return f"{here} is not a setting: did you mean {elsewhere[0]}?"
    return f"{here} is not a setting: known here are {', '.join(known)}"


def _bare(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name) else shown(name)


def _wrong_training(training: Mapping[str, Any]) -> Iterator[str]:
    for name, value in training.items():
        if name in flags.RESERVED:
            yield f"training.{name} is {shown(value)}: not here, because {flags.RESERVED[name]}"
        elif (known := flags.unknown(name)) is not None:
            yield f"training.{_bare(name)} is {known}"
        elif (allowed := flags.wrong(name, value)) is not None:
            yield f"training.{name} is {shown(value)}: {allowed}"


def unsaved(flag: object, strategy: object) -> bool:
    """Whether `enable-checkpointing` is off where a machine may be taken away."""
    return flag in (False, "false") and strategy != Strategy.ON_DEMAND


def _wrong_together(
    machine: Mapping[str, Any], policy: Mapping[str, Any], training: Mapping[str, Any]
) -> Iterator[str]:
    if "type" in machine and "accelerator" in machine:
        allowed = wrong_accelerator(machine["type"], machine["accelerator"])
        if allowed is not None:
            yield f"machine.accelerator is {shown(machine['accelerator'])}: {allowed}"
        elif machine["accelerator"] != "none" and "accelerator_count" in machine:
            allowed = wrong_count(machine["type"], machine["accelerator_count"])
            if allowed is not None:
                yield f"machine.accelerator_count is {machine['accelerator_count']}: {allowed}"
    if "strategy" in policy and unsaved(training.get("enable-checkpointing", True), policy["strategy"]):
        yield f"training.enable-checkpointing is false: {ONLY_ON_DEMAND}"
    interval = _seconds(training.get("checkpoint-interval"))
    if (
        interval is not None
        and "max_checkpoint_interval_minutes" in policy
        and interval > policy["max_checkpoint_interval_minutes"] * 60
    ):
        yield (
            f"training.checkpoint-interval is {shown(training['checkpoint-interval'])}: at most "
            f"{policy['max_checkpoint_interval_minutes'] * 60:g} seconds, or raise policy.max_checkpoint_interval_minutes, which is "
            f"{policy['max_checkpoint_interval_minutes']:g}"
        )


def _seconds(interval: object) -> float | None:
    """None unless it is fixed."""
    if isinstance(interval, bool) or not isinstance(interval, int | float | str) or fields.argument(interval):
        return None
    try:
        return float(interval)
    except ValueError:  # auto
        return None
