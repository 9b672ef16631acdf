"""Test plans and runs as text: complete at 80 columns, wide in a log, messages verbatim."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console, RenderableType

from spot.cli import run_tables
from spot.core.history import CancelRequest, Decision
from spot.core.job import JobState
from spot.core.run import Observation, Outcome, Provisioning, Run, RunState, Strategy
from spot.core.tables import facts
from spot.supervisor.reconcile import RunResult
from spot.supervisor.submit import plan
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
    lines = rendered(run_tables.run_view(long_run(), samples.seen(5, at=NOW), NOW), columns)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= columns
    assert "…" not in text
    for cell in (LONG, "out-of-memory", "on-demand europe-west4", "flex-start us-central1", "0-123456", "running"):
        assert cell in text


def test_work_and_time_are_one_above_the_other() -> None:
    lines = rendered(run_tables.run_view(long_run(), samples.seen(5, at=NOW), NOW), 80)
    work, time = (next(line for line in lines if line.startswith(name)) for name in ("work ", "time "))
    assert work.count("━") == run_tables.BAR // 2
    assert work.endswith("300 of 600 steps, 5.0 h of work left")
    assert 7 <= time.count("━") <= 8
    assert time.endswith("9.0 h of 24.0 h, deadline 2026-11-25 00:00 UTC")


def test_the_rest_of_the_status_is_shown_in_numbers() -> None:
    text = "\n".join(rendered(run_tables.run_view(long_run(), samples.seen(5, at=NOW), NOW), 80))
    assert "now    on-demand in europe-west4, running for 0 s" in text
    assert "slack  10.0 h, latest on-demand start 2026-11-24 18:07 UTC" in text
    assert "spent  ? (a price is unknown)" in text


def test_the_newest_decisions_are_shown_and_the_others_are_counted() -> None:
    text = "\n".join(rendered(run_tables.run_view(long_run(), samples.seen(), NOW), 120))
    assert "action 7:" not in text
    assert "11-24 08:00  action 8: " in text
    assert f"8 earlier decisions: spot status {LONG} --json" in text


def test_the_message_of_vertex_ai_is_shown_verbatim() -> None:
    assert BAD in "\n".join(rendered(run_tables.run_view(long_run(), samples.seen(), NOW), 120))


def test_a_watched_run_fits_on_a_small_screen(capsys: pytest.CaptureFixture[str]) -> None:
    lines = rendered(run_tables.run_view(long_run(), samples.seen(5, at=NOW), NOW, is_brief=True), 80)
    assert len(lines) <= 22
    assert capsys.readouterr().out == ""


def test_a_run_that_has_ended_has_no_slack_and_says_where_its_model_is() -> None:
    run = samples.run(
        ended(Outcome.SUCCEEDED, started_at=T0, at=after(hours=6), last_step=600),
        state=RunState.SUCCEEDED,
        ended_at=after(hours=6),
    )
    text = "\n".join(rendered(run_tables.run_view(run, samples.seen(10, completed_at=after(hours=6)), NOW), 80))
    assert "slack" not in text
    assert "6.0 h of 24.0 h" in text
    assert "now    succeeded at 2026-11-24 06:00 UTC" in text
    assert "spent  $3.00" in text
    assert "model  gs://bucket/prefix/models/run-1" in text


def test_a_run_with_a_cancel_request_shows_it() -> None:
    run = samples.run(attempt(), cancel_request=CancelRequest(at=T0, by="ann"))
    text = "\n".join(rendered(run_tables.run_view(run, samples.seen(), after(minutes=5)), 80))
    assert "spot in us-central1, pending for 5 min; ann cancelled the run" in text


def test_a_job_that_was_not_seen_yet_is_being_created() -> None:
    run = samples.run(attempt(job=None, state=JobState.UNSPECIFIED))
    text = "\n".join(rendered(run_tables.run_view(run, samples.seen(), T0), 80))
    assert "unspecified" not in text
    assert "being created" in text


@pytest.mark.parametrize("now", [T0, after(hours=30)], ids=["at submit", "late"])
def test_a_run_can_be_shown_at_any_time(now: datetime) -> None:
    assert rendered(run_tables.run_view(samples.run(), samples.seen(), now), 80)


def passed(run: Run, seen: Observation | None = None, **changes: Any) -> RunResult:
    return RunResult(**{"run_id": run.id, "run": run, "seen": seen, "waiting_for": "spot capacity", **changes})


def test_several_runs_are_a_line_each_with_their_reasons_below() -> None:
    fine, bad = passed(samples.run(id=LONG), samples.seen(5, at=NOW)), passed(samples.run(), problem=BAD)
    head, first, second, *below = rendered(run_tables.runs([fine, bad], NOW, alone=False), 160)
    assert head.split() == ["run", "done", "time", "left", "slack", "spent", "now"]
    assert first.split()[:3] == [LONG, "50", "%"]
    assert second.endswith("no attempt")
    assert below == ["", f"{LONG}: spot capacity", f"run-1: {BAD}"]


def test_a_run_alone_is_shown_in_detail_with_its_reason_below() -> None:
    lines = rendered(run_tables.runs([passed(samples.run(id=LONG))], NOW, alone=True), 160)
    assert lines[0] == f"run    {LONG}  open"
    assert lines[-1] == f"{LONG}: spot capacity"


def test_a_run_that_failed_says_how_instead_of_what_it_waits_for() -> None:
    how = Decision(at=NOW, action="close as failed", reason="training-failed of a1, 1 > 0 allowed")
    run = samples.run(state=RunState.FAILED, ended_at=NOW, decisions=(how,))
    assert run_tables.line(passed(run), NOW) == "run-1 failed: training-failed of a1, 1 > 0 allowed"


def plan_text(**policy: Any) -> dict[str, str]:
    """The lines of a plan by their names."""
    shown = rendered(facts(plan(samples.run(id=LONG, **policy), force=False).facts), 400)
    return dict(re.split(r" {2,}", line, maxsplit=1) for line in shown)


def test_a_plan_says_when_on_demand_starts() -> None:
    lines = plan_text(budget_usd=12.0)
    assert lines["machine"] == "g2-standard-8 with NVIDIA_L4"
    assert lines["deadline"] == "2026-11-25 00:00 UTC, in 24.0 h; 10.0 h of work"
    assert lines["on-demand"] == "latest start 2026-11-24 13:07 UTC"
    assert "us-east4 spot $0.60/h, flex-start $0.60/h, on-demand $1.20/h" in lines["price"]


def test_a_plan_with_a_reserve_for_the_hand_over_starts_on_demand_earlier() -> None:
    assert re.fullmatch(
        r"latest start 2026-11-24 13:07 UTC; with the reserve of a hand-over 2026-11-24 \d\d:\d\d UTC",
        plan_text(reserve=timedelta(hours=1))["on-demand"],
    )


def test_a_plan_does_not_promise_on_demand_that_the_budget_does_not_pay_for() -> None:
    assert plan_text(budget_usd=6.0)["on-demand"] == "never: the budget does not pay for it"


def test_a_strategy_that_never_falls_back_has_no_on_demand_start() -> None:
    lines = plan_text(strategy=Strategy.SPOT, usd_per_hour={})
    assert not {"on-demand", "budget"} & lines.keys()
    assert lines["price"] == "unknown for this machine"
