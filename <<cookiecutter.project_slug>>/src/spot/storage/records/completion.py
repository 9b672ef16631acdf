"""Read `completion.json`, the record that makes a run complete."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from spot.core import fields
from spot.storage import paths
from spot.storage.base import Damaged, NotFound, Store, Written
from spot.storage.records import codec
from spot.storage.records.manifest import Json

FIX = "move it away"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    run: fields.Id
    time: datetime
    objects: Mapping[str, Written]
    """Every result, by name in the folder of the run: the files of the model, and the metrics."""
    attempt: fields.Id | None = None
    """That completed the run."""
    compute_seconds: fields.Quantity = 0.0
    """Time in training and evaluations over all attempts, without lost work."""
    tail_seconds: fields.Quantity = 0.0
    """From the end of training to this record."""
    commit: fields.Commit = "unknown"
    """What the image was built from."""
    config: dict[str, Json] = field(default_factory=dict)
    """The flags and settings that the result depends on."""

    @property
    def model(self) -> Mapping[str, Written]:
        return {name: one for name, one in self.objects.items() if name.startswith(paths.MODEL_FOLDER)}


def read(store: Store, run: str) -> Completion | None:
    """Return the completion, None if the run is not complete.

    Raises `Damaged` if it is of another run, or names results that do not exist.
    """
    name = paths.output(run, paths.COMPLETION)
    try:
        found, _ = codec.read(Completion, store, name, "a completion record", FIX)
    except NotFound:
        return None
    if found.run != run:
        raise Damaged(f"{store.uri}/{name} is of run {found.run}: {FIX}")
    if not found.model:
        raise Damaged(f"{store.uri}/{name} names no file of the model: {FIX}")
    there = {(entry.name, entry.generation, entry.size) for entry in store.list(f"{run}/")}
    for result in (paths.METRICS, *found.objects):
        pinned = found.objects.get(result)
        if pinned is None or (paths.output(run, result), pinned.generation, pinned.size) not in there:
            raise Damaged(f"{store.uri}/{name} names no generation of {fields.shown(result)} that exists: {FIX}")
    return found


def find(store: Store, run: str) -> Completion | None:
    """Return the completion, None if the run is not complete. A damaged record does not count: it is overwritten."""
    try:
        return read(store, run)
    except Damaged as error:
        _log.warning("%s", error)
        return None
