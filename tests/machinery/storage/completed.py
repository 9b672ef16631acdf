"""Write the results of a complete run, as the trainer does."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from spot.core.evaluation import Evaluation
from spot.storage import paths
from spot.storage.base import ABSENT, Store
from spot.storage.records import codec
from spot.storage.records.completion import Completion


def complete(
    models: Store,
    run: str,
    at: datetime,
    found: Evaluation | None = None,
    files: Sequence[str] = (paths.MODEL, paths.METRICS),
    commit: str = "unknown",
) -> None:
    """Write a model, its metrics, its evaluation if there is one, and last the completion."""
    objects = {}
    for name in files:
        written = models.write(paths.output(run, name), name.encode(), if_generation=ABSENT)
        objects[name] = replace(written, sha256=hashlib.sha256(name.encode()).hexdigest())
    if found:
        name = paths.output(run, paths.EVALUATION)
        objects[paths.EVALUATION] = models.write(name, codec.encode(found), if_generation=ABSENT)
    done = Completion(run=run, time=at, objects=objects, commit=commit, compute_seconds=60.0, tail_seconds=1.0)
    models.write(paths.output(run, paths.COMPLETION), codec.encode(done), if_generation=ABSENT)
