"""Test that the page of a closed run is written once, and that a failure is logged only."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from spot.report.page import publish
from spot.storage.factory import open_store
from tests.machinery import sample_runs
from tests.machinery.storage.memory import MemoryStore


def test_the_page_lies_below_reports_by_the_run() -> None:
    sample, store = sample_runs.calm(), MemoryStore("memory://bucket")
    where = publish(sample.run, sample.seen, store, sample.now)
    name = f"reports/{sample.run.id}/report.html"
    assert where == f"{store.uri}/{name}"
    assert b"$5.20, 50 % less than on-demand" in store.read(name).data


def test_a_second_publish_changes_nothing() -> None:
    sample, store = sample_runs.calm(), MemoryStore("memory://bucket")
    where = publish(sample.run, sample.seen, store, sample.now)
    before = store.read(f"reports/{sample.run.id}/report.html")
    assert publish(sample.run, None, store, sample.now) == where
    assert store.read(f"reports/{sample.run.id}/report.html") == before


def test_a_store_that_does_not_take_it_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "reports").write_text("in the way")
    sample = sample_runs.calm()
    with caplog.at_level(logging.WARNING):
        assert publish(sample.run, sample.seen, open_store(str(tmp_path)), sample.now) is None
    assert f"{sample.run.id}: cannot write reports/" in caplog.text
