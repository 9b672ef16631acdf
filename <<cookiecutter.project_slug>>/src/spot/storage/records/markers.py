"""Markers of each start and end of the trainer's process.

A start without an end was killed or is alive; restarts that Vertex AI makes inside one job are counted by them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, Store

STARTED, ENDED = "started", "ended"


def claim_start(store: Store, run: str, attempt: str, facts: Mapping[str, object]) -> int:
    """Write the next started marker of `attempt`; its number, from 1, is this process's alone."""
    numbers = [number for found, number, event in _parse(store, run) if found == attempt and event == STARTED]
    number = max(numbers, default=0) + 1
    while True:
        try:
            _write(store, paths.marker(run, attempt, number, STARTED), facts)
        except Conflict:
            number += 1
        else:
            return number


def write_end(store: Store, run: str, attempt: str, start: int, facts: Mapping[str, object]) -> None:
    """Say how the process ended: `exit_code`, `reason` and what else is known."""
    _write(store, paths.marker(run, attempt, start, ENDED), facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarts:
    """The starts of one attempt."""

    count: int
    exit_code: int | None
    """What the newest said at its end; None if it was killed, lives, or there was none."""
    started_at: datetime | None = None
    """When the first began, by the clock of its machine."""


def starts(store: Store, run: str, attempt: str) -> AttemptStarts:
    """How often the trainer was started in `attempt`, and how the newest start ended."""
    found = [(number, event) for name, number, event in _parse(store, run) if name == attempt]
    numbers = [number for number, event in found if event == STARTED]
    newest, exit_code, started_at = max(numbers, default=0), None, None
    if (newest, ENDED) in found:
        facts = json.loads(store.read(paths.marker(run, attempt, newest, ENDED)).data)
        exit_code = int(facts["exit_code"])
    if numbers:
        facts = json.loads(store.read(paths.marker(run, attempt, min(numbers), STARTED)).data)
        started_at = datetime.fromisoformat(facts["time"]).astimezone(UTC)
    return AttemptStarts(count=len(numbers), exit_code=exit_code, started_at=started_at)


def count_starts(store: Store, run: str) -> int:
    """How often the trainer was started for this run, over all attempts."""
    return sum(event == STARTED for _, _, event in _parse(store, run))


def _parse(store: Store, run: str) -> list[tuple[str, int, str]]:
    pattern = re.compile(rf"{re.escape(paths.markers(run))}([^/]+)/(\d+)-({STARTED}|{ENDED})\.json")
    matches = (pattern.fullmatch(entry.name) for entry in store.list(paths.markers(run)))
    return [(match[1], int(match[2]), match[3]) for match in matches if match]


def _write(store: Store, name: str, facts: Mapping[str, object]) -> None:
    text = json.dumps({"time": datetime.now(UTC).isoformat(), **facts}, indent=1)
    store.write(name, text.encode(), if_generation=ABSENT)
