"""Check the flags of the trainer and a task's own settings before a machine is paid for, as the trainer does."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from spot.core import typed
from spot.core.fields import shown
from spot.core.run import Strategy
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.flags import NAMES, parse

RESERVED: Final = (
    *("run", "attempt", "standby", "from-run", "resume", "champion"),
    *("output-dir", "checkpoint-dir", "tensorboard-dir"),
)
"""The flags that the supervisor sets for every attempt."""

FLAGS: Final = tuple(name for name in NAMES if name not in RESERVED)

_MAX_TEXT = 1000
_MAX_NUMBER = 1e300


def mistakes(
    table: str,
    values: Mapping[str, object],
    config: type | None = None,
    strategy: Strategy | None = None,
    max_interval_minutes: float | None = None,
) -> list[str]:
    """Return a line for each key of [training] or [model] that the trainer refuses, or that contradicts a policy."""
    own = {key.name: key for key in (typed.keys(config) if config else ()) if key.table == table}
    known, what = ([*FLAGS, *own], "a flag of the trainer") if table == "training" else ([*own], "in task/config.py")
    lines = []
    for name, value in values.items():
        key = f"{table}.{name if re.fullmatch(r'[A-Za-z0-9_-]{1,60}', name) else shown(name)}"
        if name in own:
            allowed = None
            try:
                own[name].read(value)
            except ValueError:
                allowed = own[name].allowed
        elif name in RESERVED and table == "training":
            allowed = "not allowed here, because the supervisor sets it for every attempt"
        elif name in known:
            allowed = _refused(name, value) or _conflicts(name, typed.word(value), strategy, max_interval_minutes)
        else:
            nearest = get_close_matches(name, known, n=1)
            advice = f"did you mean {nearest[0]}?" if nearest else "python -m task --help lists the flags"
            if config is None and table == "model":
                advice = "there is no task/config.py beside these settings"
            lines.append(f"{key} is not {what}: {advice}")
            continue
        if allowed:
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
        return 'gs://BUCKET/OBJECT, gs://BUCKET/PREFIX/, or "sample" for the data that come with the project'
    text = typed.word(value)
    try:  # each flag alone
        parse([f"--{name}", text, *(("--batch-size", text) if name == "accumulate" else ())], {})
    except UsageError as error:
        message = re.sub(r" \(python -m task[^()]*\)$", "", str(error)).removeprefix(f"argument --{name}: ")
        return ascii(message.removeprefix(f"{text!r} is "))[1:-1][:200]
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
