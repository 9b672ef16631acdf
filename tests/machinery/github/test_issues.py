"""Test that each failed run has one issue, derived from ledger and issues, at any number of calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core.history import Decision
from spot.core.job import JobError
from spot.core.run import Outcome, Run, RunState
from spot.github import issues
from spot.github.api import GitHub, Issue
from spot.promotion.rule import GateVerdict
from spot.storage.base import ABSENT
from spot.storage.factory import open_store
from spot.storage.records.ledger import Ledger
from tests.machinery.samples import after, ended, run
from tests.workflows.github_server import REPOSITORY, GitHubServer, github_server

NOW = after(hours=30)
PASS = "https://github.com/acme/churn/actions/runs/7"


def closed(number: int, state: RunState = RunState.FAILED, **changes: Any) -> Run:
    """The runs are submitted in the order of their numbers."""
    return run(id=f"20261124-{number}", submitted_at=after(minutes=number), state=state, **changes)


def issue(of: Run, *, is_open: bool = True, number: int = 1) -> Issue:
    return Issue(number=number, body=issues.body(of, NOW, PASS), is_open=is_open)


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    with github_server() as server:
        yield server


@pytest.fixture
def github(server: GitHubServer) -> GitHub:
    return GitHub(url=server.url, repository=REPOSITORY, token="a-token")


def test_a_run_that_failed_is_due_until_it_has_an_issue_open_or_closed() -> None:
    failed = closed(1)
    assert issues.due([failed], []).to_open == (("run", failed),)
    assert issues.due([failed], [issue(failed)]).to_open == ()
    assert issues.due([failed], [issue(failed, is_open=False)]).to_open == ()


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.CANCELLED])
def test_only_a_failure_is_an_issue(state: RunState) -> None:
    assert issues.due([closed(1, state)], []).to_open == ()


def test_a_later_success_closes_what_is_open_and_an_earlier_one_does_not() -> None:
    before, failed, later = closed(1, RunState.SUCCEEDED), closed(2), closed(3, RunState.SUCCEEDED)
    assert issues.due([before, failed], [issue(failed)]).to_close == ()
    found = issues.due([before, failed, later], [issue(failed)])
    assert found.to_close == ((issue(failed), f"Run `{later.id}` has succeeded since."),)
    assert issues.due([before, failed, later], [issue(failed, is_open=False)]).to_close == ()


def test_a_failure_that_a_later_run_made_good_is_not_reported_any_more() -> None:
    assert issues.due([closed(1), closed(2, RunState.SUCCEEDED)], []).to_open == ()


def test_an_issue_about_a_run_of_long_ago_is_closed_by_a_success() -> None:
    old = issue(closed(1))
    assert issues.due([closed(5)], [old]).to_close == ()
    assert [one for one, _ in issues.due([closed(5, RunState.SUCCEEDED)], [old]).to_close] == [old]


def test_an_issue_that_only_has_the_label_is_left_alone() -> None:
    somebodys = Issue(number=1, body="I think the model is wrong", is_open=True)
    assert issues.due([closed(1, RunState.SUCCEEDED)], [somebodys]).to_close == ()


@given(st.lists(st.sampled_from([RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED]), max_size=8))
def test_after_what_is_due_was_done_nothing_is_due(states: list[RunState]) -> None:
    runs, known = [closed(number, state) for number, state in enumerate(states, 1)], list[Issue]()
    for count in range(len(runs) + 1):  # as the runs end, one after the other
        found = issues.due(runs[:count], known)
        shut = {one.number for one, _ in found.to_close}
        known = [
            Issue(number=one.number, body=one.body, is_open=one.is_open and one.number not in shut) for one in known
        ]
        known += [issue(one, number=len(known) + place) for place, (_, one) in enumerate(found.to_open, 1)]
        again = issues.due(runs[:count], known)
        assert (again.to_open, again.to_close) == ((), ())
    last = next((state for state in reversed(states) if state is not RunState.CANCELLED), None)
    assert any(one.is_open for one in known) == (last is RunState.FAILED)


def test_reporting_twice_opens_nothing_twice(github: GitHub, server: GitHubServer) -> None:
    failed = [closed(1), closed(2)]
    assert issues.report(failed, github, NOW, workflow_run=PASS) == tuple(failed)
    assert issues.report(failed, github, NOW, workflow_run=PASS) == ()
    assert [one["title"] for one in server.issues] == [f"Retraining {one.id} failed" for one in failed]
    assert all(one["labels"] == ["retraining"] for one in server.issues)


def asked(number: int, verdict: GateVerdict = GateVerdict.ASK) -> Run:
    """Return a succeeded run with a decision of the gate."""
    made = Decision(at=NOW, action=verdict, reason="too few samples")
    return closed(number, RunState.SUCCEEDED, decisions=(made,))


@pytest.mark.parametrize("verdict", [GateVerdict.PROMOTE, GateVerdict.KEEP])
def test_only_a_gate_that_asks_is_an_issue(verdict: GateVerdict) -> None:
    assert issues.due([asked(1, verdict)], []).to_open == ()
    assert issues.due([asked(1)], []).to_open == (("model", asked(1)),)


def test_the_question_about_a_model_is_closed_by_its_promotion_or_by_a_later_success(
    github: GitHub, server: GitHubServer
) -> None:
    def report(*runs: Run, promoted: Sequence[str] = ()) -> tuple[Run, ...]:
        return issues.report(runs, github, NOW, workflow_run=PASS, promoted=promoted)

    assert report(asked(1)) == ()
    assert report(asked(1)) == ()
    assert [one["title"] for one in server.issues] == ["Retraining 20261124-1: promote its model?"]
    assert "The gate asks: too few samples." in server.issues[0]["body"]
    assert "gh workflow run promote.yml -f run=20261124-1" in server.issues[0]["body"]
    report(asked(1), asked(2))
    assert [one["state"] for one in server.issues] == ["closed", "open"]
    report(asked(1), asked(2), closed(3))
    assert [one["state"] for one in server.issues] == ["closed", "open", "open"]
    report(asked(1), asked(2), closed(3), promoted=[asked(2).id])
    assert [one["state"] for one in server.issues] == ["closed", "closed", "open"]
    assert issues.due([asked(4)], [], [asked(4).id]).to_open == ()


def test_a_promotion_closes_its_own_question_only(github: GitHub, server: GitHubServer) -> None:
    issues.report([asked(1), closed(2)], github, NOW, workflow_run=PASS)
    issues.report([], github, NOW, workflow_run=PASS, promoted=[closed(2).id])
    assert [one["state"] for one in server.issues] == ["open", "open"]
    issues.report([], github, NOW, workflow_run=PASS, promoted=[asked(1).id])
    assert sorted(one["state"] for one in server.issues) == ["closed", "open"]


def test_the_issue_names_reason_console_and_workflow_run() -> None:
    error = JobError(code=3, message="The replica exited with a non-zero status of 1.")
    why = Decision(at=NOW, action="close as failed", reason="1 error of the trainer, 0 are allowed")
    text = issues.body(closed(1, attempts=(ended(Outcome.TRAINING_FAILED, error=error),), decisions=(why,)), NOW, PASS)
    assert "| why | 1 error of the trainer, 0 are allowed |" in text
    assert text.index("retrain.yml -f resume=20261124-1") < text.index("| why |")
    assert "exited with a non-zero status of 1." in text
    assert "`spot logs 20261124-1`" in text
    assert PASS in text
    assert "progress" not in text  # nobody has asked the bucket


def test_an_issue_of_any_length_is_found_again() -> None:
    error = JobError(code=3, message="x" * 300)
    long = closed(1, attempts=[ended(Outcome.TRAINING_FAILED, error=error) for _ in range(1000)])
    decisions = tuple(Decision(at=NOW, action="submit", reason="y" * 9000) for _ in range(12))
    long = run(
        *[ended(Outcome.TRAINING_FAILED, error=error)] * 1000, id=long.id, state=RunState.FAILED, decisions=decisions
    )
    text = issues.body(long, NOW, PASS)
    assert len(text) <= 65_536
    assert issues.due([long], [Issue(number=1, body=text, is_open=True)]).to_open == ()


@pytest.mark.parametrize("day", [1, 15, 31])
def test_runs_of_this_month_and_the_last_are_recent_and_none_before(tmp_path: Path, day: int) -> None:
    store = open_store(str(tmp_path))
    ledger = Ledger(store)
    for name in ("20260831-1", "20260901-1", "20261001-1", "20261002-1"):
        submitted = datetime.strptime(name[:8], "%Y%m%d").replace(tzinfo=UTC)
        ledger.file(ledger.create(run(id=name, submitted_at=submitted, state=RunState.FAILED)))
    ledger.create(run(id="20261003-1"))
    store.write("runs/closed/2026/10/junk.json", b"[" * 100_000, if_generation=ABSENT)
    found, unreadable = issues.recent(ledger, datetime(2026, 10, day, 12, tzinfo=UTC))
    assert ["runs/closed/2026/10/junk.json" in line for line in unreadable] == [True]
    assert sorted(one.id for one in found) == ["20260901-1", "20261001-1", "20261002-1"]
