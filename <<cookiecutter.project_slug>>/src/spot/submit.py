"""Begin a run: pin what it reads, check that its deadline can be met, record it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bucket.store import StoreError, open_object
from spot import rules
from spot.policy import decide
from spot.run import Action, Attempt, Observation, Provisioning, Run, Strategy, Submit
from spot.show import clock, hours
from spot.situation import Situation, assess

_KINDS = {
    Strategy.HYBRID: (Provisioning.SPOT, Provisioning.ON_DEMAND),
    Strategy.SPOT: (Provisioning.SPOT,),
    Strategy.ON_DEMAND: (Provisioning.ON_DEMAND,),
}
_GENERATION = re.compile(r"#\d+$")


class SubmitError(Exception):
    """The run cannot begin so; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do first, and until when it may wait."""

    run: Run
    action: Action
    situation: Situation
    warnings: tuple[str, ...]

    @property
    def first(self) -> Attempt | None:
        """The attempt that the first pass would create."""
        if not isinstance(self.action, Submit):
            return None
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


def plan(run: Run, *, force: bool) -> Plan:
    """Raises `SubmitError`, with the numbers, if not even on-demand could meet the deadline, unless `force`d."""
    situation = assess(run, Observation(), run.submitted_at)
    _check_prices(run)
    warnings = tuple(_doubts(run, situation))
    if warnings and not force:
        raise SubmitError(f"{warnings[0]}; or say --force")
    return Plan(run=run, action=decide(run, Observation(), run.submitted_at), situation=situation, warnings=warnings)


def _doubts(run: Run, situation: Situation) -> list[str]:
    terms, spec = run.spec.terms, run.spec
    if situation.left <= timedelta():
        return [f"the deadline {clock(spec.deadline)} has passed: choose a later one"]
    if terms.strategy is not Strategy.SPOT and situation.slack < terms.worst_start:
        line = (
            f"the deadline {clock(spec.deadline)} cannot be met: {hours(terms.work)} of work and up to"
            f" {hours(terms.worst_start)} to start on demand do not fit into the {hours(situation.left)} that are left."
            " Give it more time (--deadline-hours), or correct policy.work_hours"
        )
        return [line]
    return []


def _check_prices(run: Run) -> None:
    """A budget can be kept only where every price is known."""
    terms = run.spec.terms
    kinds = _KINDS[terms.strategy]
    unknown = [region for region in terms.regions if not set(kinds) <= set(terms.usd_per_hour.get(region, {}))]
    if terms.budget_usd is not None and unknown:
        machine = run.spec.machine
        what = f"{machine.type} with {machine.accelerator}" if machine.accelerator else machine.type
        raise SubmitError(
            f"a budget of ${terms.budget_usd:.2f} cannot be kept: no price is known for {what} in"
            f" {', '.join(unknown)}. Leave the budget out, or choose other --regions"
        )


def merged_flags(settings: tuple[str, ...], given: Sequence[str]) -> tuple[str, ...]:
    """The trainer's flags of the settings, those of the command line over them. Raises `SubmitError`."""
    flags = dict(zip(settings[::2], settings[1::2], strict=True))
    words = [part for word in given for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(words) % 2:
        raise SubmitError(f"-- {' '.join(given)}: the trainer's flags come in pairs, as in -- --epochs 30")
    for flag, value in zip(words[::2], words[1::2], strict=True):
        if not flag.startswith("--") or (wrong := rules.flag(flag.removeprefix("--"))):
            raise SubmitError(
                f"-- {flag} {value}: {wrong if flag.startswith('--') else 'expected a flag, as --epochs'}"
            )
        flags[flag] = value
    return tuple(part for pair in flags.items() for part in pair)


def pinned_data(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The trainer's flags with `--data gs://...` pinned to the generation of now. Raises `SubmitError`."""
    pinned = list(arguments)
    for index, flag in enumerate(arguments[:-1]):
        uri = arguments[index + 1]
        if flag == "--data" and uri.startswith("gs://") and not _GENERATION.search(uri):
            pinned[index + 1] = f"{uri}#{_generation(uri)}"
    return tuple(pinned)


def _generation(uri: str) -> int:
    try:
        store, name = open_object(uri)
        entries = store.list(name)
    except (StoreError, ValueError) as error:
        raise SubmitError(f"training.data {uri}: {error}") from error
    for entry in entries:
        if entry.name == name:
            return entry.generation
    raise SubmitError(f"training.data {uri}: there is no such object")
