"""Test that the page of a closed run is written once, and that a failure is logged only."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from spot.report.publish import publish
from spot.storage.factory import open_store
from tests.machinery import stories
from tests.machinery.storage.memory import MemoryStore


def test_the_page_lies_below_reports_by_the_run() -> None:
    story, store = stories.calm(), MemoryStore("memory://bucket")
    where = publish(story.run, story.seen, store, story.now)
    name = f"reports/{story.run.id}/report.html"
    assert where == f"{store.uri}/{name}"
    assert b"$5.20, 50 % less than on-demand" in store.read(name).data


def test_a_second_publish_changes_nothing() -> None:
    story, store = stories.calm(), MemoryStore("memory://bucket")
    where = publish(story.run, story.seen, store, story.now)
    before = store.read(f"reports/{story.run.id}/report.html")
    assert publish(story.run, None, store, story.now) == where
    assert store.read(f"reports/{story.run.id}/report.html") == before


def test_a_store_that_does_not_take_it_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "reports").write_text("in the way")
    story = stories.calm()
    with caplog.at_level(logging.WARNING):
        assert publish(story.run, story.seen, open_store(str(tmp_path)), story.now) is None
    assert f"{story.run.id}: cannot write reports/" in caplog.text
