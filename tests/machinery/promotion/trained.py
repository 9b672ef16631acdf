"""Write the results of runs that measured themselves, as the trainer does."""

from __future__ import annotations

from spot.core.evaluation import Evaluation
from spot.storage import paths
from spot.storage.base import ABSENT, Store
from spot.storage.records import completion, evaluation
from tests.machinery.promotion import measured
from tests.machinery.samples import T0


def finish(models: Store, found: Evaluation | None, run: str) -> None:
    """Write a model, its metrics, its evaluation, and last the completion."""
    objects = {
        name: models.write(paths.output(run, name), f"{run} {name}".encode(), if_generation=ABSENT)
        for name in (paths.MODEL, f"{paths.MODEL_FOLDER}config.json", paths.METRICS)
    }
    if found:
        name = paths.output(run, paths.EVALUATION)
        objects[paths.EVALUATION] = models.write(name, evaluation.encode(found), if_generation=ABSENT)
    record = completion.encode(run, T0, {"attempt": "a1", "compute_seconds": 60.0, "tail_seconds": 1.0}, objects)
    models.write(paths.output(run, paths.COMPLETION), record, if_generation=ABSENT)


def better(run: str, champion: str | None) -> Evaluation:
    """Return the evaluation of a run that is surely better than the champion, or the first."""
    judged = measured.measured(20, 2, 1000)
    return measured.evaluation(judged, run=run, champion=champion) if champion else measured.alone(run=run)
