"""Read and encode `completion.json`, the record that makes a run complete."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from spot.storage import paths
from spot.storage.base import Damaged, NotFound, Store, Written
from spot.storage.records.manifest import Json

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Hold the record of a complete run."""

    time: datetime
    values: Mapping[str, Json]
    """The whole record."""


def read(store: Store, run: str) -> Completion | None:
    """Return the completion, None if the run is not complete. Raises `Damaged`."""
    name = paths.output(run, paths.COMPLETION)
    try:
        data = store.read(name).data
    except NotFound:
        return None
    try:
        values: dict[str, Json] = json.loads(data)
        return Completion(time=datetime.fromisoformat(values["time"]).astimezone(UTC), values=values)
    except (ValueError, LookupError, TypeError, RecursionError, OverflowError) as error:
        raise Damaged(f"{store.uri}/{name} is not a completion record ({error}): move it away") from error


def encode(run: str, time: datetime, facts: Mapping[str, Json], objects: Mapping[str, Written]) -> bytes:
    """Return the record of a run that is complete with these objects."""
    pinned = {
        name: {"generation": written.generation, "size": written.size, "crc32c": written.crc32c}
        for name, written in objects.items()
    }
    values = {"format": FORMAT, "run": run, "time": time.isoformat(), **facts, "objects": pinned}
    return json.dumps(values, indent=1, sort_keys=True).encode()
