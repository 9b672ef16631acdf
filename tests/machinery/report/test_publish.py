"""Test that the page of a closed run is written once, and that a failure is logged only."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from spot.core.evaluation import Evaluation
from spot.core.history import Decision
from spot.core.run import Observation, RunState
from spot.report.publish import publish
from spot.storage import paths
from spot.storage.factory import open_store
from spot.storage.records import completion
from spot.storage.records.completion import Completion
from tests.machinery import sample_runs
from tests.machinery.promotion.measured import alone, evaluation, measured
from tests.machinery.sample_runs import SampleRun
from tests.machinery.storage.completed import complete
from tests.machinery.storage.memory import MemoryStore


def models(sample: SampleRun, found: Evaluation | None = None, commit: str = "unknown") -> MemoryStore:
    """Return a store with the results of the run."""
    store = MemoryStore("gs://bucket/prefix/models")
    complete(store, sample.run.id, sample.now, found, commit=commit)
    return store


def test_the_page_lies_below_reports_by_the_run() -> None:
    sample, store = sample_runs.calm(), MemoryStore("memory://bucket")
    where = publish(sample.run, sample.seen, store, models(sample), sample.now)
    name = f"reports/{sample.run.id}/report.html"
    assert where == f"{store.uri}/{name}"
    assert b"$5.20, 50 % less than on-demand" in store.read(name).data


def test_a_second_publish_changes_nothing() -> None:
    sample, store = sample_runs.calm(), MemoryStore("memory://bucket")
    where = publish(sample.run, sample.seen, store, models(sample), sample.now)
    before = store.read(f"reports/{sample.run.id}/report.html")
    assert publish(sample.run, None, store, models(sample), sample.now) == where
    assert store.read(f"reports/{sample.run.id}/report.html") == before


def test_a_store_that_does_not_take_it_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "reports").write_text("in the way")
    sample = sample_runs.calm()
    with caplog.at_level(logging.WARNING):
        assert publish(sample.run, sample.seen, open_store(str(tmp_path)), models(sample), sample.now) is None
    assert f"{sample.run.id}: cannot write reports/" in caplog.text


def test_the_card_lies_beside_the_model_with_its_origin_cost_comparison_and_checksums() -> None:
    sample = sample_runs.calm()
    promoted = Decision(at=sample.now, action="promote", reason="accuracy 0.9 against 0.8")
    run = replace(sample.run, decisions=(*sample.run.decisions, promoted))
    found = evaluation(measured(20, 2, 1000), run=run.id)
    sample = replace(sample, run=run, seen=replace(sample.seen or Observation(), evaluation=found))
    store = models(sample, found, "0123456789" * 4)
    publish(sample.run, sample.seen, MemoryStore("memory://bucket"), store, sample.now)
    card = store.read(f"{run.id}/MODEL.md").data.decode()
    [sha256] = {one.sha256 for name, one in written(store, run.id).objects.items() if name == paths.MODEL}
    for part in (
        f"# Model of run {run.id}\n",
        f"| commit | {'0123456789' * 4} |\n",
        f"| image | {run.spec.image.replace('@', '&#64;')} |\n",
        "| cost | &#36;5.20, 50 % less than on-demand |\n",
        "| interruptions | 0 preemptions; 1 attempt |\n",
        "| gate | promote: accuracy 0.9 against 0.8 |\n",
        "| accuracy | 1000 | 0.509 | 0.491 | +0.018 |",
        f'model = load_exported("{run.model}/model")\n',
        f"| model/model.safetensors | {len(paths.MODEL)} | ",
        f" | {sha256} |\n",
    ):
        assert part in card, card


def test_the_card_of_the_first_model_has_no_columns_for_a_champion() -> None:
    sample, found = sample_runs.calm(), alone()
    store = models(sample, found)
    seen = replace(sample.seen or Observation(), evaluation=found)
    publish(sample.run, seen, MemoryStore("memory://bucket"), store, sample.now)
    card = store.read(f"{sample.run.id}/MODEL.md").data.decode()
    assert "| metric | samples | score |\n| --- | ---: | ---: |\n| accuracy | 360 | 0.9 |\n" in card, card


def test_a_run_without_a_model_has_no_card() -> None:
    sample, store = sample_runs.calm(), MemoryStore("gs://bucket/prefix/models")
    failed = replace(sample.run, state=RunState.FAILED)
    publish(failed, sample.seen, MemoryStore("memory://bucket"), store, sample.now)
    assert store.list("") == []


def test_a_model_without_a_completion_record_has_a_page_and_no_card(caplog: pytest.LogCaptureFixture) -> None:
    sample, store = sample_runs.calm(), MemoryStore("gs://bucket/prefix/models")
    assert publish(sample.run, sample.seen, MemoryStore("memory://bucket"), store, sample.now)
    assert store.list("") == []
    assert f"{sample.run.id}: cannot write {sample.run.id}/MODEL.md: " in caplog.text


def written(store: MemoryStore, run: str) -> Completion:
    found = completion.read(store, run)
    assert found
    return found
