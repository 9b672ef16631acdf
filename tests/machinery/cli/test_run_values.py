"""Test plans and runs as JSON: plain values, with the numbers behind a decision."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from spot.cli import runs
from spot.core.format import plain
from spot.core.history import Decision
from spot.core.job import JobState
from spot.core.run import Outcome, Run
from spot.supervisor.reconcile import RunResult
from spot.supervisor.submit import plan
from tests.machinery import samples
from tests.machinery.samples import T0, after, attempt, ended


def in_json(document: object) -> Any:
    """As a strict reader sees it."""
    return json.loads(json.dumps(plain(document), allow_nan=False))


def test_a_run_is_its_record_and_how_it_stands() -> None:
    run = samples.run(attempt(state=JobState.RUNNING, started_at=after(hours=1)))
    said = in_json(runs.run_values(run, samples.seen(5, at=after(hours=6)), after(hours=6)))
    assert said["id"] == "run-1"
    assert said["attempts"][0]["provisioning"] == "spot"
    assert said["attempts"][0]["console"].endswith("/training/1?project=1")
    now = said["now"]
    assert (now["step"], now["total_steps"], now["completed_at"]) == (300, 600, None)
    assert (now["work_hours"], now["slack_hours"], now["usd_spent"]) == (5.0, 13.0, 2.5)
    assert now["at"] == "2026-11-24T06:00:00+00:00"


def test_an_attempt_without_a_job_has_no_page() -> None:
    run = samples.run(attempt(job=None))
    assert in_json(runs.run_values(run, samples.seen(), T0))["attempts"][0]["console"] is None


def test_what_is_not_known_is_null_and_not_a_number() -> None:
    run = samples.run(ended(Outcome.PREEMPTED, started_at=T0, at=after(hours=1)), usd_per_hour={})
    now = in_json(runs.run_values(run, samples.seen(), after(hours=25)))["now"]
    assert now["usd_spent"] is None
    assert now["total_steps"] is None


@pytest.mark.parametrize("run", [samples.run(), None], ids=["read", "not read"])
def test_a_pass_is_what_it_did_and_why_it_did_no_more(run: Run | None) -> None:
    decision = Decision(at=T0, action="submit spot in us-central1", reason="from the beginning")
    passed = RunResult(
        run_id="run-1", run=run, seen=samples.seen(1), actions=(decision,), waiting_for="waits", problem="no answer"
    )
    assert in_json(runs.result_values(passed)) == {
        "run": "run-1",
        "state": "open" if run else None,
        "actions": [
            {"at": "2026-11-24T00:00:00+00:00", "action": "submit spot in us-central1", "reason": "from the beginning"}
        ],
        "alarms": [],
        "waiting_for": "waits",
        "problem": "no answer",
        "needs_operator": False,
        "step": 60,
    }


def test_a_plan_says_until_when_spot_may_be_waited_for() -> None:
    said = in_json(runs.plan_values(plan(samples.run(id="20261124-run"), force=False)))
    assert said["first"].startswith("submit spot in us-central1: ")
    assert said["latest_on_demand_start"] == (after(hours=14) - timedelta(minutes=25 + 15 + 3 + 10)).isoformat()
    assert said["usd_per_hour"]["us-east4"] == {"spot": 0.6, "flex-start": 0.6, "on-demand": 1.2}
    assert said["warnings"] == []
