"""Mark each start and end of the trainer's process.

A start without an end was killed or is alive. The markers also count the restarts that Vertex AI makes inside a job.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeVar

from spot.core.fields import Bounds
from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, Store
from spot.storage.records import codec

STARTED, ENDED = "started", "ended"

_Kind = TypeVar("_Kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    exit_code: Annotated[int, Bounds(-255, 255)]
    time: datetime | None = None


def claim_start(store: Store, run: str, attempt: str, facts: Mapping[str, object]) -> int:
    """Write the next started marker of `attempt`, with `time` in `facts`. Return its number, unique, from 1.

    A `nonce` in `facts` tells a repeated request from that of another process.
    """
    numbers = [number for found, number, event in _parse(store, run) if found == attempt and event == STARTED]
    number = max(numbers, default=0) + 1
    while True:
        try:
            _write(store, paths.marker(run, attempt, number, STARTED), facts)
            return number
        except Conflict:
            number += 1


def write_end(store: Store, run: str, attempt: str, start: int, facts: Mapping[str, object]) -> None:
    """Write the ended marker of a start, with `time`, `exit_code` and `reason` in `facts`."""
    _write(store, paths.marker(run, attempt, start, ENDED), facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarts:
    count: int
    exit_code: int | None
    """Of the newest start; None if it was killed or is alive, or without a start."""
    started_at: datetime | None = None
    """When the first start began, by the clock of its machine."""
    ended_at: datetime | None = None
    """When the newest start ended, by the same clock; None as for `exit_code`."""


def starts(store: Store, run: str, attempt: str) -> AttemptStarts:
    """Return the starts of the trainer in `attempt`. Raises `Damaged`."""
    found = [(number, event) for name, number, event in _parse(store, run) if name == attempt]
    numbers = [number for number, event in found if event == STARTED]
    newest, end, started_at = max(numbers, default=0), None, None
    if (newest, ENDED) in found:
        end = _read(_End, store, paths.marker(run, attempt, newest, ENDED))
    if numbers:
        started_at = _read(_Start, store, paths.marker(run, attempt, min(numbers), STARTED)).time
    return AttemptStarts(
        count=len(numbers),
        exit_code=end.exit_code if end else None,
        started_at=started_at,
        ended_at=end.time if end else None,
    )


def count_starts(store: Store, run: str) -> int:
    """Return the number of starts over all attempts of a run."""
    return sum(event == STARTED for _, _, event in _parse(store, run))


def _parse(store: Store, run: str) -> list[tuple[str, int, str]]:
    pattern = re.compile(rf"{re.escape(paths.markers(run))}([^/]+)/([0-9]{{1,6}})-({STARTED}|{ENDED})\.json")
    matches = (pattern.fullmatch(entry.name) for entry in store.list(paths.markers(run)))
    return [(match[1], int(match[2]), match[3]) for match in matches if match]


def _read(kind: type[_Kind], store: Store, name: str) -> _Kind:
    return codec.read(kind, store, name, "a marker", "move it away")[0]


def _write(store: Store, name: str, facts: Mapping[str, object]) -> None:
    text = json.dumps({"format": codec.FORMAT, **facts}, indent=1)
    store.write(name, text.encode(), if_generation=ABSENT)
