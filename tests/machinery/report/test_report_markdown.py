"""A report in Markdown: what GitHub draws, and nothing that could be more than text."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from spot.accounting.totals import Totals
from spot.core.job import JobError
from spot.core.run import Decision
from spot.report import report_markdown
from tests.machinery import stories
from tests.machinery.report.test_markdown import NASTY
from tests.machinery.samples import after


def of(name: str) -> str:
    return report_markdown.report(stories.STORIES[name]().account)


@pytest.mark.parametrize("name", stories.STORIES)
def test_every_table_keeps_its_columns(name: str) -> None:
    columns = 0
    for line in of(name).splitlines():
        if line.startswith("|"):
            columns = columns or line.count("|")
            assert line.count("|") == columns, line
        else:
            columns = 0


def test_what_others_wrote_stays_text() -> None:
    failed = stories.failed()
    attempt = replace(failed.run.attempts[0], error=JobError(code=3, message=NASTY))
    decision = Decision(at=after(), action=NASTY, reason=NASTY)
    run = replace(failed.run, attempts=(attempt,), decisions=(decision,))
    text = report_markdown.report(replace(failed, run=run).account)
    assert "<img" not in text
    assert "@everyone" not in text
    assert "::error" not in [line[:7] for line in text.splitlines()]


def test_a_loss_is_red_bold_and_in_words() -> None:
    assert "🔴 **LOSS: &#36;16.45, 60 % more than on-demand**" in of("loss")
    assert "🔴" not in of("calm")
    assert "**2026-11-25 00:00 UTC, MISSED by 1.9 h**" in of("late")


def test_attempts_and_progress_are_drawn_and_the_lines_are_told_apart() -> None:
    diagrams = re.findall(r"```mermaid\n(.*?)\n```", of("handed-over"), re.DOTALL)
    assert [re.sub(r"^%%.*%%\n", "", diagram).split()[0] for diagram in diagrams] == ["gantt", "xychart-beta"]
    assert "Green: the work that was safe." in of("handed-over")


def test_the_model_and_each_job_and_its_log_are_linked() -> None:
    text = of("calm")
    assert "(https://console.cloud.google.com/storage/browser/bucket/prefix/models/20261124-000000-7c1e)" in text
    assert text.count("[job](https://console.cloud.google.com/vertex-ai/") == 1
    assert text.count("[log](https://console.cloud.google.com/logs/") == 1


def test_of_very_many_attempts_and_decisions_the_newest_are_shown() -> None:
    story = stories.late()
    run = replace(story.run, attempts=story.run.attempts[:38] * 5, decisions=story.run.decisions * 5)
    text = report_markdown.report(replace(story, run=run).account)
    assert "150 earlier attempts not shown" in text
    assert "<summary>200 decisions, the last 40</summary>" in text
    assert len(text.encode()) < 60_000


def test_a_run_that_nothing_was_tried_for_has_no_pictures() -> None:
    assert "```mermaid" not in of("untouched")


def test_many_runs_are_a_table_and_what_they_come_to() -> None:
    accounts = tuple(stories.STORIES[name]().account for name in ("calm", "loss"))
    found = Totals(since=after(), until=after(hours=60), accounts=accounts, skipped=("a | b",))
    text = report_markdown.many(found)
    assert "## 2 runs submitted since 2026-11-24 00:00 UTC" in text
    assert (
        "| 20261124-000000-7c1e | ✅ succeeded | &#36;16.45 | &#36;10.30 | **LOSS 60 %** | met by 4.1 h | 9 | 55 % |"
        in text
    )
    assert "⚠️ skipped: a &#124; b" in text
    assert "has ended" in report_markdown.many(replace(found, accounts=()))
