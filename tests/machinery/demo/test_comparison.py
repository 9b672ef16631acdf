"""Two runs are the same if their weights, evaluations and order of samples are."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from spot.demo.runner import compare
from spot.storage import paths
from spot.storage.base import ABSENT, NotFound
from spot.storage.factory import open_store
from spot.storage.records import codec
from spot.storage.records.completion import Completion

METRICS = {
    "metric": "accuracy",
    "shipped": {"accuracy": 0.75},
    "steps": 9,
    "history": [1, 2],
    "samples_digest": ["abc"],
}


def write(root: Path, run: str, *, weights: bytes = b"weights", complete: bool = True, **changes: object) -> None:
    models = open_store(f"{root}/models")
    contents = {paths.MODEL: weights, paths.METRICS: json.dumps({**METRICS, **changes}).encode()}
    written = {
        name: models.write(paths.output(run, name), content, if_generation=ABSENT) for name, content in contents.items()
    }
    if complete:
        record = codec.encode(Completion(run=run, time=datetime(2026, 11, 28, tzinfo=UTC), objects=written))
        models.write(paths.output(run, paths.COMPLETION), record, if_generation=ABSENT)


def test_the_same_twice_is_identical(tmp_path: Path) -> None:
    write(tmp_path, "baseline")
    write(tmp_path, "interrupted")
    found = compare(str(tmp_path), "baseline", "interrupted")
    assert found.identical
    assert (found.metric, found.value, found.steps) == ("accuracy", 0.75, 9)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"weights": b"others"}, (False, True, True)),
        ({"history": [1, 3]}, (True, False, True)),
        ({"samples_digest": ["abd"]}, (True, True, False)),
    ],
)
def test_any_difference_is_named(changes: dict[str, Any], same: tuple[bool, ...], tmp_path: Path) -> None:
    write(tmp_path, "baseline")
    write(tmp_path, "interrupted", **changes)
    found = compare(str(tmp_path), "baseline", "interrupted")
    assert (found.same_weights, found.same_metrics, found.same_order) == same
    assert not found.identical


def test_a_run_that_is_not_complete_is_not_compared(tmp_path: Path) -> None:
    write(tmp_path, "baseline")
    write(tmp_path, "interrupted", complete=False)
    with pytest.raises(NotFound, match="run interrupted is not complete"):
        compare(str(tmp_path), "baseline", "interrupted")
