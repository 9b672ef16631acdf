"""What programs get: plain values that JSON can hold, the numbers of a decision among them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from spot.cli import values
from spot.core.job import JobState
from spot.core.run import Decision, Outcome, Run, Strategy
from spot.doctor.finding import Finding, Status
from spot.supervisor.reconcile import PassResult
from spot.supervisor.submit import plan
from tests.machinery import samples
from tests.machinery.samples import T0, after, attempt, ended


def in_json(document: object) -> Any:
    """As a strict reader sees it."""
    return json.loads(json.dumps(document, allow_nan=False))


def test_a_run_is_its_record_and_how_it_stands() -> None:
    run = samples.run(attempt(state=JobState.RUNNING, started_at=after(hours=1)))
    said = in_json(values.run(run, samples.seen(5, at=after(hours=6)), after(hours=6)))
    assert said["id"] == "run-1"
    assert said["attempts"][0]["provisioning"] == "spot"
    assert said["attempts"][0]["console"].endswith("/training/1?project=1")
    now = said["now"]
    assert (now["step"], now["total_steps"], now["completed_at"]) == (300, 600, None)
    assert (now["work_hours"], now["slack_hours"], now["usd_spent"]) == (5.0, 13.0, 2.5)
    assert now["at"] == "2026-11-24T06:00:00+00:00"


def test_an_attempt_without_a_job_has_no_page() -> None:
    run = samples.run(attempt(job=None))
    assert in_json(values.run(run, samples.seen(), T0))["attempts"][0]["console"] is None


def test_what_is_not_known_is_null_and_not_a_number() -> None:
    run = samples.run(ended(Outcome.PREEMPTED, started_at=T0, at=after(hours=1)), usd_per_hour={})
    now = in_json(values.run(run, samples.seen(), after(hours=25)))["now"]
    assert now["usd_spent"] is None
    assert now["total_steps"] is None


@pytest.mark.parametrize("run", [samples.run(), None], ids=["read", "not read"])
def test_a_pass_is_what_it_did_and_why_it_did_no_more(run: Run | None) -> None:
    decision = Decision(at=T0, action="submit spot in us-central1", reason="from the beginning")
    passed = PassResult(
        run_id="run-1", run=run, seen=samples.seen(1), actions=(decision,), waiting_for="waits", problem="no answer"
    )
    assert in_json(values.passed(passed)) == {
        "run": "run-1",
        "state": "open" if run else None,
        "actions": [
            {"at": "2026-11-24T00:00:00+00:00", "action": "submit spot in us-central1", "reason": "from the beginning"}
        ],
        "waiting_for": "waits",
        "problem": "no answer",
        "needs_operator": False,
        "step": 60,
    }


def test_a_plan_says_until_when_spot_may_be_waited_for() -> None:
    said = in_json(values.plan(plan(samples.run(), force=False)))
    assert said["first"].startswith("submit spot in us-central1: ")
    assert said["latest_on_demand_start"] == (after(hours=14) - timedelta(minutes=25 + 15 + 3 + 10)).isoformat()
    assert said["usd_per_hour"]["us-east4"] == {"spot": 0.6, "flex-start": 0.6, "on-demand": 1.2}
    assert said["warnings"] == []


def test_the_lines_of_a_plan_tell_the_same_to_people() -> None:
    lines = dict(values.plan_lines(plan(samples.run(budget_usd=12.0), force=False)))
    assert lines["machine"] == "g2-standard-8, 1 x NVIDIA_L4"
    assert lines["deadline"] == "2026-11-25 00:00 UTC, in 24.0 h; 10.0 h of work stated"
    assert lines["latest on-demand start"] == "2026-11-24 13:07 UTC; submitted after 2026-11-24 13:35 UTC it is late"
    assert lines["on-demand"] == "from 2026-11-24 13:07 UTC, if nothing advances until then"
    assert lines["budget"] == "$12.00: pays for 24.0 h of the first attempt"
    assert "us-east4 spot $0.60/h, flex-start $0.60/h, on-demand $1.20/h" in lines["price"]


def test_a_plan_does_not_promise_on_demand_that_the_budget_does_not_pay_for() -> None:
    lines = dict(values.plan_lines(plan(samples.run(budget_usd=6.0), force=False)))
    assert lines["on-demand"] == "never: the budget does not pay for it"
    assert "latest on-demand start" not in lines


def test_a_strategy_that_never_falls_back_has_no_latest_on_demand_start() -> None:
    lines = dict(values.plan_lines(plan(samples.run(strategy=Strategy.SPOT, usd_per_hour={}), force=False)))
    assert not {"on-demand", "latest on-demand start", "budget"} & lines.keys()
    assert lines["price"] == "not known for this machine"


def test_a_finding_has_its_fix() -> None:
    finding = Finding(check="bucket", status=Status.FAILED, detail="not there", fix="make it")
    assert in_json(values.finding(finding)) == {
        "check": "bucket",
        "status": "failed",
        "detail": "not there",
        "fix": "make it",
    }
