"""Compare the results of an interrupted run with those of the uninterrupted baseline."""

import json
from dataclasses import dataclass

from spot.storage import paths
from spot.storage.base import NotFound, Store
from spot.storage.factory import open_store
from spot.storage.records import completion
from spot.storage.records.manifest import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Hold what is identical in two runs, and the first metric of the interrupted run."""

    metric: str | None
    value: float | None
    """On the held-out data."""
    steps: int
    same_weights: bool
    same_metrics: bool
    same_order: bool

    @property
    def identical(self) -> bool:
        return self.same_weights and self.same_metrics and self.same_order


def compare(root: str, baseline: str, interrupted: str) -> Comparison:
    """Compare two complete runs below `root`, files by size and checksum; raise `NotFound` if one is not complete."""
    models = open_store(f"{root}/models")
    (expected_files, expected), (files, found) = (_results(models, run) for run in (baseline, interrupted))
    return Comparison(
        metric=found["metric"],
        value=found["shipped"].get(found["metric"]),
        steps=found["steps"],
        same_weights=files == expected_files,
        same_metrics=found["history"] == expected["history"],
        same_order=found["samples_digest"] == expected["samples_digest"],
    )


def _results(models: Store, run: str) -> tuple[dict[str, tuple[int, int]], dict[str, Json]]:
    found = completion.read(models, run)
    if found is None:
        raise NotFound(f"run {run} is not complete: {models.uri} has no {paths.output(run, paths.COMPLETION)}")
    metrics = json.loads(models.read(paths.output(run, paths.METRICS)).data)
    model = {name: one for name, one in found.objects.items() if name.startswith(paths.MODEL_FOLDER)}
    return {name: (one.size, one.crc32c) for name, one in model.items()}, metrics
