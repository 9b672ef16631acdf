"""A kept bucket is a project that `spot status` and `spot report` read, object for object what the rehearsal wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from spot.cli.main import main
from spot.config.load import load
from spot.core.errors import SpotError
from spot.core.run import Run
from spot.demo import keep
from spot.demo.environment import BUCKET, ROOT
from spot.demo.runner import RUN
from spot.demo.virtual_clock import EPOCH
from spot.storage import paths
from spot.storage.base import ABSENT, Store
from spot.storage.factory import open_store
from spot.storage.records import codec, completion
from spot.storage.records.completion import Completion
from spot.storage.records.ledger import Ledger
from spot.supervisor.training_status import BucketStatus
from tests.machinery import sample_runs

WEIGHTS = b"weights"
STORY = sample_runs.preempted()


@pytest.fixture(scope="module")
def rehearsed(emulator_url: str) -> Run:
    """Fill the bucket of a rehearsal with a closed run and its model, and return the run."""
    requests.post(f"{emulator_url}/storage/v1/b", json={"name": BUCKET}, timeout=60).raise_for_status()
    by = EPOCH - STORY.run.submitted_at
    run: Run = sample_runs.moved(STORY.run, by=by)
    run = replace(run, id=RUN, spec=replace(run.spec, root=ROOT))
    ledger = Ledger(open_store(ROOT))
    ledger.file(ledger.create(run))
    models = open_store(f"{ROOT}/models")
    written = {
        name: models.write(paths.output(RUN, name), content, if_generation=ABSENT)
        for name, content in {paths.MODEL: WEIGHTS, paths.METRICS: b"{}"}.items()
    }
    assert STORY.seen
    assert STORY.seen.completed_at
    record = codec.encode(Completion(run=RUN, time=STORY.seen.completed_at + by, objects=written))
    models.write(paths.output(RUN, paths.COMPLETION), record, if_generation=ABSENT)
    return run


@pytest.fixture(params=["kept", 'it\'s "kept" \N{GREEK SMALL LETTER ALPHA}\\'], ids=["plain", "quoted"])
def directory(rehearsed: Run, request: pytest.FixtureRequest, tmp_path: Path) -> Path:  # noqa: ARG001  # must exist
    path = tmp_path / str(request.param)
    keep.check(path)
    keep.keep(path, machines=1)
    return path


def spot(directory: Path, capsys: pytest.CaptureFixture[str], verb: str, *arguments: str) -> str:
    """Return the output of a verb."""
    capsys.readouterr()
    code = main([verb, "--settings", str(directory / "spot.toml"), *arguments])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def test_the_status_of_the_run_is_read(directory: Path, rehearsed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    out = spot(directory, capsys, "status", RUN)
    assert RUN in out
    assert rehearsed.attempts[-1].id in out
    assert "succeeded" in out


def test_the_report_is_that_of_the_rehearsal(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values: dict[str, Any] = json.loads(spot(directory, capsys, "report", RUN, "--json"))
    assert values["run"] == RUN
    assert values["usd"] == pytest.approx(STORY.account.usd)
    assert [one["outcome"] for one in values["attempts"]] == [one.outcome for one in STORY.run.attempts]


def test_the_run_is_complete_in_its_new_place(directory: Path, rehearsed: Run) -> None:
    store = open_store(load(directory / "spot.toml").root)
    run = Ledger(store).find(RUN).run
    assert run == replace(rehearsed, spec=replace(rehearsed.spec, root=store.uri))
    before = BucketStatus(rehearsed.spec.root).observe(rehearsed)
    after = BucketStatus(store.uri).observe(run)
    assert after.completed_at == before.completed_at
    assert after.completed_at


def test_the_objects_of_the_completion_record_have_its_generations(directory: Path) -> None:
    store: Store = open_store(f"{load(directory / 'spot.toml').root}/models")
    done = completion.read(store, RUN)
    assert done
    assert set(done.objects) == {paths.MODEL, paths.METRICS}
    for name, written in done.objects.items():
        assert store.read(paths.output(RUN, name)).generation == written.generation
    view = memoryview(bytearray(len(WEIGHTS)))
    store.read_into(paths.output(RUN, paths.MODEL), view, generation=done.objects[paths.MODEL].generation)
    assert bytes(view) == WEIGHTS


def test_a_kept_bucket_is_not_submitted_to(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["submit", "--settings", str(directory / "spot.toml"), "--image", "trainer", "--dry-run"])
    assert code == 2
    assert f"cloud.bucket is the directory {directory}" in capsys.readouterr().err


def test_a_directory_with_content_is_refused_and_a_new_one_is_made(tmp_path: Path) -> None:
    keep.check(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(SpotError, match="it is not empty"):
        keep.check(tmp_path / "a")
