"""Check the flags of the trainer before a machine is paid for, with the trainer's own parser."""

import re
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Final

from spot.core.fields import shown
from spot.core.run import Strategy
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.flags import Flags, parse

RESERVED: Final[Mapping[str, str]] = {
    "run": "submit chooses the run's id",
    "attempt": "the supervisor chooses the attempt's id",
    "output-dir": "it follows from cloud.bucket and cloud.prefix",
    "checkpoint-dir": "it follows from cloud.bucket and cloud.prefix",
    "tensorboard-dir": "it follows from cloud.bucket and cloud.prefix",
    "standby": "the supervisor decides which attempt replaces another",
    "from-run": "spot resume names the run to resume",
    "resume": "every attempt resumes from the newest checkpoint",
}
"""The flags that the supervisor sets, each with the reason."""

FLAGS: Final = tuple(name for field in fields(Flags) if (name := field.name.replace("_", "-")) not in RESERVED)

_MAX_TEXT = 1000
_MAX_NUMBER = 1e300


def word(value: object) -> str:
    """Return the value as a word of the trainer's command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def mistakes(
    training: Mapping[str, object], strategy: Strategy | None = None, max_interval_minutes: float | None = None
) -> list[str]:
    """Return a line for each flag that the trainer refuses, or that contradicts a known policy."""
    lines = []
    for name, value in training.items():
        key = f"training.{name if re.fullmatch(r'[A-Za-z0-9_-]{1,60}', name) else shown(name)}"
        if name in RESERVED:
            lines.append(f"{key} is {shown(value)}: not allowed here, because {RESERVED[name]}")
        elif name not in FLAGS:
            nearest = get_close_matches(name, FLAGS, n=1)
            known = f"did you mean {nearest[0]}?" if nearest else "python -m task --help lists the flags"
            lines.append(f"{key} is not a flag of the trainer: {known}")
        elif allowed := _refused(name, value) or _conflicts(name, word(value), strategy, max_interval_minutes):
            lines.append(f"{key} is {shown(value)}: {allowed}")
    return lines


def _refused(name: str, value: object) -> str | None:
    """Return what the trainer allows, None if it accepts the value."""
    if not isinstance(value, str | int | float):
        return "a text, a number, true or false"
    if isinstance(value, str) and not (1 <= len(value) <= _MAX_TEXT and value.isprintable()):
        return f"1 to {_MAX_TEXT} printable characters on one line"
    if isinstance(value, int | float) and not abs(value) < _MAX_NUMBER:
        return "a number that is finite"
    if name == "data" and value != "sample" and not str(value).startswith("gs://"):  # a machine has no other files
        return 'gs://BUCKET/OBJECT, or "sample" for the data that come with the project'
    try:
        parse([f"--{name}", word(value)], {})
    except UsageError as error:
        message = re.sub(r" \(python -m task[^()]*\)$", "", str(error)).removeprefix(f"argument --{name}: ")
        return ascii(message.removeprefix(f"{word(value)!r} is "))[1:-1][:200]
    return None


def _conflicts(name: str, value: str, strategy: Strategy | None, max_interval_minutes: float | None) -> str | None:
    if name == "enable-checkpointing" and value == "false" and strategy not in {None, Strategy.ON_DEMAND}:
        return "true, or only with policy.strategy on-demand, because a preemption would lose everything"
    if name == "checkpoint-interval" and value != "auto" and max_interval_minutes:
        most = max_interval_minutes * 60
        if float(value) > most:
            return (
                f"at most {most:g} seconds, or raise policy.max_checkpoint_interval_minutes, "
                f"which is {max_interval_minutes:g}"
            )
    return None
