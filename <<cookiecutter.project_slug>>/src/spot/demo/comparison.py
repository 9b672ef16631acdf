"""Whether an interrupted run ended with the same model as one that nothing happened to."""

from __future__ import annotations

import json
from dataclasses import dataclass

from spot.storage import paths
from spot.storage.base import NotFound, Store
from spot.storage.factory import open_store
from spot.storage.records import completion
from spot.storage.records.manifest import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is the same in two runs, and how good the second one's model is."""

    score_name: str
    score: float
    """On the held-out data."""
    steps: int
    same_weights: bool
    same_metrics: bool
    same_order: bool

    @property
    def identical(self) -> bool:
        return self.same_weights and self.same_metrics and self.same_order


def compare(root: str, peace: str, storm: str) -> Comparison:
    """Of two complete runs below `root`, byte by byte. Raises `NotFound` for one that is not complete."""
    models = open_store(f"{root}/models")
    (weights, first), (others, second) = (_results(models, run) for run in (peace, storm))
    return Comparison(
        score_name=second["score"],
        score=second["final"][second["score"]],
        steps=second["steps"],
        same_weights=weights == others,
        same_metrics=first["history"] == second["history"],
        same_order=first["samples_digest"] == second["samples_digest"],
    )


def _results(models: Store, run: str) -> tuple[bytes, dict[str, Json]]:
    if completion.read(models, run) is None:
        raise NotFound(f"run {run} is not complete in {models.uri}")
    metrics = json.loads(models.read(paths.output(run, paths.METRICS)).data)
    return models.read(paths.output(run, paths.MODEL)).data, metrics
