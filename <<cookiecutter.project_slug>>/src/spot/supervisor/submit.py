"""Begin a run: pin what it reads, check that its deadline can be met, record it."""

from __future__ import annotations

import re
import secrets
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from spot.config import flags
from spot.config.settings import Settings
from spot.core import fields
from spot.core.actions import Submit
from spot.core.errors import SpotError
from spot.core.format import clock, hours
from spot.core.run import Attempt, Observation, PolicyConfig, Run, Strategy
from spot.policy.decide import decide
from spot.policy.slack import Slack, assess
from spot.storage.factory import open_object, open_store
from spot.storage.paths import RUN
from spot.storage.records.ledger import month_of
from spot.supervisor.preflight import budget_warnings, doubts, price_warnings, refusals

_GENERATION = re.compile(r"#\d+$")


class SubmitError(SpotError):
    """The run cannot begin so; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do first, and until when it may wait."""

    run: Run
    action: Submit
    situation: Slack
    doubts: tuple[str, ...]
    """Why it would not be submitted without `--force`."""
    notes: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.doubts + self.notes

    def noted(self, line: str | None) -> Plan:
        """With one more, if there is one."""
        return replace(self, notes=(*self.notes, line)) if line else self

    @property
    def first(self) -> Attempt:
        """The attempt that the first pass would create."""
        return Attempt(
            id="a1",
            provisioning=self.action.provisioning,
            region=self.action.region,
            intended_at=self.run.submitted_at,
            timeout=self.action.timeout,
            from_step=0,
        )


def new_id(now: datetime) -> str:
    """Begins with its day, so that runs sort by age and a closed one is found by its month."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def plan(run: Run, *, force: bool, save: timedelta | None = None) -> Plan:
    """Raises `SubmitError`, with the numbers, if not even on-demand could meet the deadline, unless `force`d.

    `save` is how long it takes until a checkpoint is durable, None if nobody has said.
    """
    situation = assess(run, Observation(), run.submitted_at)
    if not RUN.fullmatch(run.id):
        raise SubmitError(f"--run {run.id!r} is no id: 1 to 63 of a-z, 0-9, _ and -, a letter or digit first")
    if month_of(run.id) not in {None, f"{run.submitted_at:%Y/%m}"}:
        raise SubmitError(
            f"--run {run.id} begins with a day of another month, where it would be filed: put a letter first"
        )
    if refused := refusals(run):
        raise SubmitError(refused[0])
    doubtful = _late(run, situation) + doubts(run, save)
    if doubtful and not force:
        raise SubmitError(f"{doubtful[0]}; or say --force")
    action = decide(run, Observation(), run.submitted_at)
    if not isinstance(action, Submit):
        raise SubmitError(f"the run would end before it began: {action.reason}")
    notes = (*budget_warnings(run), *price_warnings(run))
    return Plan(run=run, action=action, situation=situation, doubts=tuple(doubtful), notes=notes)


def _late(run: Run, situation: Slack) -> list[str]:
    policy, spec = run.spec.policy, run.spec
    if situation.left <= timedelta():
        return [f"the deadline {clock(spec.deadline)} has passed: choose a later one"]
    needs = situation.on_demand_needs
    if policy.strategy is not Strategy.SPOT and situation.slack < needs:
        line = (
            f"the deadline {clock(spec.deadline)} cannot be met: {hours(policy.work)} of work and up to"
            f" {hours(needs)} to start on demand do not fit into the {hours(situation.left)} that are left."
            " Give it more time (--deadline-hours), or correct policy.work_hours"
        )
        return [line]
    return []


def terms_of(settings: Settings, options: Namespace) -> PolicyConfig:
    """The settings, and what the flags put over them. Raises `SubmitError`."""
    overrides: dict[str, object] = {}
    if options.strategy:
        overrides["strategy"] = Strategy(options.strategy)
    if options.regions is not None:
        overrides["regions"] = regions_of(options.regions)
    if options.work_hours:
        overrides["work"] = timedelta(hours=options.work_hours)
    return settings.policy_config(**overrides)


def deadline_of(settings: Settings, options: Namespace, now: datetime) -> datetime:
    """By the settings, or the flag over them."""
    return now + timedelta(hours=options.deadline_hours or settings.policy.deadline_hours)


def regions_of(text: str) -> tuple[str, ...]:
    """`--regions` as it is given. Raises `SubmitError`."""
    names = [name.strip() for name in text.split(",")]
    wrong = fields.regions(names) or next(filter(None, map(fields.region, names)), None)
    if wrong:
        raise SubmitError(f"--regions {text!r}: {wrong}")
    return tuple(names)


def merged_flags(settings: tuple[str, ...], given: Sequence[str]) -> tuple[str, ...]:
    """The trainer's flags of the settings, those of the command line over them. Raises `SubmitError`."""
    merged = dict(zip(settings[::2], settings[1::2], strict=True))
    words = [part for word in given for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(words) % 2:
        raise SubmitError(f"-- {' '.join(given)}: the trainer's flags come in pairs, as in -- --epochs 30")
    for flag, value in zip(words[::2], words[1::2], strict=True):
        if wrong := _wrong(flag, value):
            raise SubmitError(f"-- {fields.shown(flag)} {fields.shown(value)}: {wrong}")
        merged[flag] = value
    return tuple(part for pair in merged.items() for part in pair)


def _wrong(flag: str, value: str) -> str | None:
    if not flag.startswith("--"):
        return "expected a flag, as --epochs, and its value"
    name = flag.removeprefix("--")
    if reserved := flags.RESERVED.get(name):
        return f"not here, because {reserved}"
    return flags.unknown(name) or flags.wrong(name, value)


def pinned_data(arguments: tuple[str, ...], *, give_up_s: float) -> tuple[str, ...]:
    """The trainer's flags with `--data gs://...` pinned to the generation of now.

    Raises `SubmitError` if there is no such object, `SpotError` if nobody can say.
    """
    pinned = list(arguments)
    for index, flag in enumerate(arguments[:-1]):
        uri = arguments[index + 1]
        if flag == "--data" and uri.startswith("gs://") and not _GENERATION.search(uri):
            pinned[index + 1] = f"{uri}#{_generation(uri, give_up_s)}"
    return tuple(pinned)


def _generation(uri: str, give_up_s: float) -> int:
    try:
        store, name = open_object(uri)
    except ValueError as error:
        raise SubmitError(f"--data {uri}: {error}") from error
    for entry in open_store(store.uri, give_up_s=give_up_s).list(name):
        if entry.name == name:
            return entry.generation
    raise SubmitError(f"--data {uri}: there is no such object")
