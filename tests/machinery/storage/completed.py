"""Write the results of a complete run, as the trainer does."""

from __future__ import annotations

from datetime import datetime

from spot.storage import paths
from spot.storage.base import ABSENT, Store
from spot.storage.records import completion


def complete(models: Store, run: str, at: datetime) -> None:
    """Write a model, its metrics, and last the completion."""
    objects = {
        name: models.write(paths.output(run, name), name.encode(), if_generation=ABSENT)
        for name in (paths.MODEL, paths.METRICS)
    }
    record = completion.encode(run, at, {"attempt": "a1", "compute_seconds": 60.0, "tail_seconds": 1.0}, objects)
    models.write(paths.output(run, paths.COMPLETION), record, if_generation=ABSENT)
