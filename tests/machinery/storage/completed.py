"""Write the results of a complete run, as the trainer does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from spot.core.evaluation import Evaluation
from spot.storage import paths
from spot.storage.base import ABSENT, Store
from spot.storage.records import completion, evaluation


def complete(
    models: Store,
    run: str,
    at: datetime,
    found: Evaluation | None = None,
    files: Sequence[str] = (paths.MODEL, paths.METRICS),
) -> None:
    """Write a model, its metrics, its evaluation if there is one, and last the completion."""
    objects = {name: models.write(paths.output(run, name), name.encode(), if_generation=ABSENT) for name in files}
    if found:
        name = paths.output(run, paths.EVALUATION)
        objects[paths.EVALUATION] = models.write(name, evaluation.encode(found), if_generation=ABSENT)
    record = completion.encode(run, at, {"attempt": "a1", "compute_seconds": 60.0, "tail_seconds": 1.0}, objects)
    models.write(paths.output(run, paths.COMPLETION), record, if_generation=ABSENT)
