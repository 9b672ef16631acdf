"""What people see of passes, runs and findings: wide where nobody sees an edge, each thing once, as it was said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spot.cli import views
from spot.core.run import Decision, Observation, Run, RunState
from spot.doctor.finding import Finding, Status
from spot.supervisor.reconcile import PassResult
from tests.machinery import samples
from tests.machinery.samples import after

LONG = "20261124-211400-ab12"
NOW = after(hours=9)
BAD = "it said [/red] and [bold]:warning: :smile:"


def passed(run: Run, seen: Observation | None = None, **changes: object) -> PassResult:
    return replace(PassResult(run_id=run.id, run=run, seen=seen, actions=(), waiting_for="waits for spot"), **changes)  # type: ignore[arg-type]


def test_several_runs_are_a_line_each_with_their_problems_below(capsys: pytest.CaptureFixture[str]) -> None:
    fine, bad = passed(samples.run(id=LONG), samples.seen(5, at=NOW)), passed(samples.run(), problem=BAD)
    views.show_runs([fine, bad], NOW, as_json=False)
    head, first, second, problem = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "done", "time", "left", "slack", "spent", "now"]
    assert first.split()[:2] == [LONG, "50%"]
    assert second.endswith("nothing runs")
    assert problem == f"run-1: {BAD}"


def test_in_a_log_lines_are_not_cut_at_80(capsys: pytest.CaptureFixture[str]) -> None:
    detail = "x" * 110
    views.show_findings([Finding(check="bucket", status=Status.FAILED, detail=detail, fix="y" * 300)], as_json=False)
    first, fix = capsys.readouterr().out.splitlines()
    assert first == f"failed   bucket  {detail}"
    assert fix == f"  fix:   {'y' * 300}", "a command must be there to be copied whole"


def test_where_it_is_narrow_a_link_is_folded_and_not_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("spot.cli.console.WIDE", 80)
    link = f"https://console.cloud.google.com/{'x' * 110}"
    views.show_findings([Finding(check="bucket", status=Status.FAILED, detail=link, fix="")], as_json=False)
    shown = capsys.readouterr().out
    assert "".join(shown.split()) == f"failedbucket{link}"
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_a_run_that_failed_says_how_instead_of_what_is_next(capsys: pytest.CaptureFixture[str]) -> None:
    how = Decision(at=NOW, action="close as failed", reason="training-failed of a1, 1 > 0 allowed")
    run = samples.run(state=RunState.FAILED, ended_at=NOW, decisions=(how,))
    with views.watching(as_json=False) as show:
        show([passed(run)], NOW)
    assert capsys.readouterr().out == "2026-11-24 09:00 UTC run-1 failed: training-failed of a1, 1 > 0 allowed\n"


def test_a_line_of_the_log_is_not_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    run = samples.run()
    with views.watching(as_json=False) as show:
        for again in (passed(run), passed(run), passed(run, problem="no answer"), passed(run, problem="no answer")):
            show([again], NOW)
    assert capsys.readouterr().out.splitlines() == [
        "2026-11-24 09:00 UTC run-1 open: waits for spot",
        "2026-11-24 09:00 UTC run-1 open: no answer",
    ]
