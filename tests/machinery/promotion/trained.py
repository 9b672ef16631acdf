"""Write the results of runs that measured themselves, as the trainer does."""

from __future__ import annotations

from spot.core.evaluation import Evaluation
from spot.storage import paths
from spot.storage.base import Store
from tests.machinery.promotion import measured
from tests.machinery.samples import T0
from tests.machinery.storage.completed import complete


def finish(models: Store, found: Evaluation | None, run: str) -> None:
    """Write the results of a run with a model of two files."""
    complete(models, run, T0, found, (paths.MODEL, f"{paths.MODEL_FOLDER}config.json", paths.METRICS))


def better(run: str, champion: str | None) -> Evaluation:
    """Return the evaluation of a run that is surely better than the champion, or the first."""
    judged = measured.measured(20, 2, 1000)
    return measured.evaluation(judged, run=run, champion=champion) if champion else measured.alone(run=run)
