"""Test that the training status is read from both stores, and that an invalid record is named."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from spot.core.run import Observation, Run
from spot.storage import paths
from spot.storage.base import ABSENT, Damaged, NewerFormat, Store
from spot.storage.factory import open_store
from spot.storage.records import lease, markers
from spot.storage.records.manifest import Manifest
from spot.supervisor.training_status import BucketStatus
from tests.machinery import samples
from tests.machinery.storage.completed import complete

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MANIFEST = samples.manifest(
    run="run-1",
    attempt="a2",
    from_step=120,
    from_token=1,
    step=300,
    total_steps=600,
    epoch=4,
    steps_per_second=0.02,
    compute_seconds=300 / 0.05,
    saving_seconds=1.5,
    time=datetime(2026, 11, 24, 13, tzinfo=timezone(timedelta(hours=1))),
)


@pytest.fixture
def run(uri: str) -> Run:
    return samples.run(samples.attempt(), root=uri)


@pytest.fixture
def checkpoints(uri: str) -> Store:
    return open_store(f"{uri}/checkpoints")


@pytest.fixture
def models(uri: str) -> Store:
    return open_store(f"{uri}/models")


def commit(store: Store, manifest: Manifest) -> None:
    store.write(manifest.name, manifest.to_json(), if_generation=ABSENT)


def test_a_run_without_objects_has_no_status(run: Run) -> None:
    assert BucketStatus(run.spec.root).observe(run) == Observation()
    assert BucketStatus(run.spec.root).starts(run, run.attempts[0]) == markers.AttemptStarts(count=0, exit_code=None)


def test_progress_comes_from_the_newest_manifest(run: Run, checkpoints: Store) -> None:
    for step in (100, 300, 200):
        commit(checkpoints, replace(MANIFEST, step=step))
    commit(checkpoints, replace(MANIFEST, run="run-10", step=500))
    progress = BucketStatus(run.spec.root).observe(run).progress
    assert progress is not None
    assert (progress.attempt, progress.step, progress.total_steps) == ("a2", 300, 600)
    assert (progress.at, progress.at.tzinfo) == (NOON, UTC)


@pytest.mark.parametrize(
    ("per_second", "per_hour"),
    [
        pytest.param(0.02, 72, id="measured"),
        pytest.param(0.0, 0, id="nothing-is-known"),
        pytest.param(1e-9, 0, id="slower-than-any-calendar"),
    ],
)
def test_rate_and_training_time_come_from_the_manifest_if_they_are_valid(
    per_second: float, per_hour: float, run: Run, checkpoints: Store
) -> None:
    commit(checkpoints, replace(MANIFEST, steps_per_second=per_second))
    progress = BucketStatus(run.spec.root).observe(run).progress
    assert progress is not None
    assert progress.steps_per_hour == pytest.approx(per_hour)
    assert progress.trained == timedelta(seconds=6000)


def test_the_checkpoint_interval_comes_from_the_manifest(run: Run, checkpoints: Store) -> None:
    commit(checkpoints, replace(MANIFEST, interval_seconds=90.0, save_seconds=5.0))
    progress = BucketStatus(run.spec.root).observe(run).progress
    assert progress is not None
    assert (progress.checkpoint_interval, progress.save) == (timedelta(seconds=90), timedelta(seconds=5))


def test_a_damaged_manifest_does_not_hide_the_one_before_it(run: Run, checkpoints: Store) -> None:
    commit(checkpoints, replace(MANIFEST, step=200))
    checkpoints.write(MANIFEST.name, b"{", if_generation=ABSENT)
    progress = BucketStatus(run.spec.root).observe(run).progress
    assert progress is not None
    assert progress.step == 200


def test_a_manifest_in_a_newer_format_is_refused(run: Run, checkpoints: Store) -> None:
    data = json.dumps({**json.loads(MANIFEST.to_json()), "format": 3}).encode()
    checkpoints.write(MANIFEST.name, data, if_generation=ABSENT)
    with pytest.raises(NewerFormat, match="format 3"):
        BucketStatus(run.spec.root).observe(run)


def test_the_holder_of_the_lease_is_read_once_there_was_a_standby(run: Run, checkpoints: Store) -> None:
    lease.claim(checkpoints, "run-1", "a2.1")
    assert BucketStatus(run.spec.root).observe(run).writer is None
    standby = samples.attempt(id="a2", replaces="a1")
    assert BucketStatus(run.spec.root).observe(replace(run, attempts=(*run.attempts, standby))).writer == "a2"


def test_a_model_is_complete_since_the_time_of_its_completion_record(run: Run, models: Store) -> None:
    complete(models, "run-1", datetime(2026, 11, 24, 13, tzinfo=timezone(timedelta(hours=1))))
    completed_at = BucketStatus(run.spec.root).observe(run).completed_at
    assert completed_at == NOON
    assert completed_at.utcoffset() == timedelta()


def test_the_starts_of_an_attempt_are_counted_and_the_newest_end_counts(run: Run, checkpoints: Store) -> None:
    (attempt,) = run.attempts
    for code in (143, 1):
        start = markers.claim_start(checkpoints, "run-1", "a1", {"time": f"2026-11-24T0{code % 3}:00:00+00:00"})
        markers.write_end(checkpoints, "run-1", "a1", start, {"exit_code": code})
    markers.claim_start(checkpoints, "run-1", "a10", {})
    first = datetime(2026, 11, 24, 2, tzinfo=UTC)
    assert BucketStatus(run.spec.root).starts(run, attempt) == markers.AttemptStarts(
        count=2, exit_code=1, started_at=first
    )
    markers.claim_start(checkpoints, "run-1", "a1", {"time": NOON.isoformat()})
    assert BucketStatus(run.spec.root).starts(run, attempt) == markers.AttemptStarts(
        count=3, exit_code=None, started_at=first
    )


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b'{"exit_code": null}', b'{"exit_code": "x"}'])
def test_an_end_that_cannot_be_read_is_named(data: bytes, run: Run, checkpoints: Store) -> None:
    markers.claim_start(checkpoints, "run-1", "a1", {"time": NOON.isoformat()})
    checkpoints.write(paths.marker("run-1", "a1", 1, markers.ENDED), data, if_generation=ABSENT)
    with pytest.raises(Damaged, match="checkpoints/run-1/attempts/a1"):
        BucketStatus(run.spec.root).starts(run, run.attempts[0])
