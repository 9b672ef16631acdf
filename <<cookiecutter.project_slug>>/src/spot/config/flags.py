"""The trainer's flags as they are checked before a machine is paid for: what src/trainer/flags.py takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final

from spot.core import fields

Check = Callable[[str], str | None]
"""Of the word on the trainer's command line: None, or what is allowed."""

RESERVED: Final[Mapping[str, str]] = {
    "run": "the run's id is given at submit",
    "attempt": "each attempt gets an id of its own",
    "output-dir": "it follows from cloud.bucket and cloud.prefix",
    "checkpoint-dir": "it follows from cloud.bucket and cloud.prefix",
    "tensorboard-dir": "it follows from cloud.bucket and cloud.prefix",
    "standby": "the supervisor says which attempt relieves another",
    "resume": "every attempt goes on where the one before it stopped",
}
"""The flags that the supervisor sets, and why nobody else does."""


def _whole(least: int) -> Check:
    def check(word: str) -> str | None:
        right = word.isascii() and word.isdigit() and len(word) <= 10 and least <= int(word) < 2**31
        return None if right else f"a whole number of at least {least}"

    return check


def _positive(word: str) -> str | None:
    try:
        right = 0 < float(word) < math.inf
    except ValueError:
        right = False
    return None if right else "a number above 0"


def _seconds_or_auto(word: str) -> str | None:
    return None if word == "auto" or _positive(word) is None else "a number of seconds above 0, or auto"


def _one_of(*words: str) -> Check:
    return lambda word: None if word in words else f"one of {', '.join(words)}"


def _data(word: str) -> str | None:
    if word == "sample" or word.startswith("gs://"):
        return None
    return 'gs://BUCKET/OBJECT, or "sample" for the data that come with the project'


FLAGS: Final[Mapping[str, Check]] = {
    "data": _data,
    "epochs": _whole(1),
    "max-steps": _whole(1),
    "batch-size": _whole(1),
    "accumulate": _whole(1),
    "learning-rate": _positive,
    "patience": _whole(0),
    "seed": _whole(0),
    "precision": _one_of("auto", "full", "mixed"),
    "device": _one_of("auto", "cpu", "cuda"),
    "workers": _whole(0),
    "log-interval": _positive,
    "enable-checkpointing": _one_of("true", "false"),
    "checkpoint-interval": _seconds_or_auto,
    "keep": _whole(1),
    "grace": _positive,
}
"""The trainer's other flags. A flag of your own goes there and here."""


def word(value: str | float | bool) -> str:
    """As it stands on the trainer's command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def unknown(name: str) -> str | None:
    """`name` is without its dashes."""
    if name in FLAGS:
        return None
    nearest = get_close_matches(name, FLAGS, n=1)
    known = f"did you mean {nearest[0]}?" if nearest else "trainer --help lists them"
    return f"not a flag of the trainer: {known} (one of your own goes into FLAGS in src/spot/flags.py)"


def wrong(name: str, value: object) -> str | None:
    """What is allowed, if that is not."""
    if (allowed := fields.argument(value)) is not None:
        return allowed
    assert isinstance(value, str | float | int)
    return FLAGS[name](word(value))
