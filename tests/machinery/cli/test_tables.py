"""A run as tables: whole at 80 columns, and as it was said."""

from __future__ import annotations

from datetime import datetime
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from spot.cli import tables
from spot.core.job import JobState
from spot.core.run import CancelRequest, Decision, Outcome, Provisioning, Run, RunState
from tests.machinery import samples
from tests.machinery.samples import T0, after, attempt, ended, stockout

LONG = "20261124-211400-ab12"
NOW = after(hours=9)
BAD = "it said [/red] and [bold]:warning: :smile:"


def long_run() -> Run:
    """One to which everything happened, with the longest words there are."""
    attempts = (
        ended(Outcome.NO_CAPACITY, error=stockout(), at=after(minutes=20)),
        ended(Outcome.PREEMPTED, region="europe-west4", started_at=after(hours=1), at=after(hours=4), last_step=123456),
        ended(Outcome.OUT_OF_MEMORY, provisioning=Provisioning.FLEX_START, started_at=after(hours=5), at=NOW),
        attempt(provisioning=Provisioning.ON_DEMAND, region="europe-west4", state=JobState.RUNNING, started_at=NOW),
    )
    decisions = tuple(Decision(at=after(hours=n), action=f"action {n}", reason=BAD) for n in range(20))
    return samples.run(*attempts, id=LONG, decisions=decisions, budget_usd=50.0)


def rendered(part: RenderableType, columns: int) -> list[str]:
    console = Console(file=StringIO(), width=columns, highlight=False, markup=False, emoji=False)
    with console.capture() as caught:
        console.print(part)
    return [line.rstrip() for line in caught.get().splitlines()]


@pytest.mark.parametrize("columns", [80, 120])
def test_a_run_is_shown_whole(columns: int) -> None:
    lines = rendered(tables.run_view(long_run(), samples.seen(5, at=NOW), NOW), columns)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= columns
    assert "…" not in text
    for cell in (LONG, "out-of-memory", "on-demand europe-west4", "flex-start us-central1", "0-123456", "running"):
        assert cell in text


def test_work_and_time_are_one_above_the_other() -> None:
    lines = rendered(tables.run_view(long_run(), samples.seen(5, at=NOW), NOW), 80)
    work, time = (next(line for line in lines if line.startswith(name)) for name in ("work ", "time "))
    assert work.count("━") == tables.BAR // 2
    assert work.endswith("300 of 600 steps, 5.0 h of work left")
    assert 7 <= time.count("━") <= 8
    assert time.endswith("9.0 h of 24.0 h, deadline 2026-11-25 00:00 UTC")


def test_the_rest_of_how_it_stands_is_said_in_numbers() -> None:
    text = "\n".join(rendered(tables.run_view(long_run(), samples.seen(5, at=NOW), NOW), 80))
    assert "now    on-demand in europe-west4, running for 0 s" in text
    assert "slack  10.0 h, latest on-demand start 2026-11-24 18:07 UTC" in text
    assert "spent  ? (a price is not known)" in text


def test_the_newest_decisions_are_shown_and_the_others_are_counted() -> None:
    text = "\n".join(rendered(tables.run_view(long_run(), samples.seen(), NOW), 120))
    assert "action 7:" not in text
    assert "11-24 08:00  action 8: " in text
    assert f"8 earlier ones: spot status {LONG} --json" in text


def test_what_vertex_ai_said_is_shown_as_it_was_said() -> None:
    assert BAD in "\n".join(rendered(tables.run_view(long_run(), samples.seen(), NOW), 120))


def test_a_watched_run_fits_on_a_small_screen(capsys: pytest.CaptureFixture[str]) -> None:
    lines = rendered(tables.run_view(long_run(), samples.seen(5, at=NOW), NOW, brief=True), 80)
    assert len(lines) <= 22
    assert capsys.readouterr().out == ""


def test_a_run_that_has_ended_has_no_slack_and_says_where_its_model_is() -> None:
    run = samples.run(
        ended(Outcome.SUCCEEDED, started_at=T0, at=after(hours=6), last_step=600),
        state=RunState.SUCCEEDED,
        ended_at=after(hours=6),
    )
    text = "\n".join(rendered(tables.run_view(run, samples.seen(10, completed_at=after(hours=6)), NOW), 80))
    assert "slack" not in text
    assert "6.0 h of 24.0 h" in text
    assert "now    succeeded at 2026-11-24 06:00 UTC" in text
    assert "spent  $3.00" in text
    assert "model  gs://bucket/prefix/models/run-1" in text


def test_a_run_that_somebody_wants_to_end_says_so() -> None:
    run = samples.run(attempt(), cancel_request=CancelRequest(at=T0, by="ann"))
    text = "\n".join(rendered(tables.run_view(run, samples.seen(), after(minutes=5)), 80))
    assert "spot in us-central1, pending for 5 min; ann asked for its end" in text


def test_a_job_that_was_not_seen_yet_is_being_created() -> None:
    run = samples.run(attempt(job=None, state=JobState.UNSPECIFIED))
    text = "\n".join(rendered(tables.run_view(run, samples.seen(), T0), 80))
    assert "unspecified" not in text
    assert "being created" in text


@pytest.mark.parametrize("now", [T0, after(hours=30)], ids=["at submit", "late"])
def test_a_run_can_be_shown_at_any_time(now: datetime) -> None:
    assert rendered(tables.run_view(samples.run(), samples.seen(), now), 80)
