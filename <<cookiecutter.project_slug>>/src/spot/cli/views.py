"""What people see of runs, plans and findings, and what programs get of them with `--json`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from spot.cli import console, tables, values
from spot.core.format import clock, hours
from spot.core.run import Run, RunState
from spot.doctor.finding import Finding, Status
from spot.supervisor.reconcile import PassResult
from spot.supervisor.submit import Plan

_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red", Status.UNKNOWN: "magenta"}


def show_plan(plan: Plan, request: Mapping[str, Any], *, as_json: bool) -> None:
    """What would be done; `request` is the body of the first create."""
    if as_json:
        console.write_json({"plan": values.plan(plan), "request": request})
        return
    where = f"projects/{plan.run.spec.project}/locations/{plan.first.region}/customJobs"
    console.write(tables.facts(values.plan_lines(plan)), f"\nthe request: POST {where}", json.dumps(request, indent=2))


def show_submitted(plan: Plan, passed: PassResult, now: datetime, *, as_json: bool) -> None:
    if as_json:
        console.write_json({"plan": values.plan(plan), **values.passed(passed)})
        return
    next_ = [
        f"follow it:  spot watch {passed.run_id}",
        f"look at it: spot status {passed.run_id}",
        "or leave it to GitHub: gh workflow enable supervise.yml",
    ]
    line = Text(_line(passed, now), style=_mood(passed))
    console.write(tables.facts(values.plan_lines(plan)), "", line, *(["", *next_] if _is_open(passed) else []))


def show_passes(passes: Sequence[PassResult], now: datetime, *, as_json: bool) -> None:
    if as_json:
        console.write_json([values.passed(passed) for passed in passes])
        return
    console.write(_passes(passes, now))


@contextlib.contextmanager
def watching(*, as_json: bool) -> Iterator[Callable[[Sequence[PassResult], datetime], None]]:
    """Show pass after pass: in place on a terminal, by what is new elsewhere, for programs a line each."""
    if as_json:
        yield lambda passes, now: print(
            json.dumps({"at": now.isoformat(), "runs": [values.passed(passed) for passed in passes]}), flush=True
        )
    elif console.on_terminal():
        with console.in_place() as show:
            yield lambda passes, now: show(_passes(passes, now, brief=True))
    else:
        yield _by_what_is_new()


def _by_what_is_new() -> Callable[[Sequence[PassResult], datetime], None]:
    said: dict[str, str] = {}

    def say(passes: Sequence[PassResult], now: datetime) -> None:
        if not passes:
            print("no run is open", flush=True)
        for passed in passes:
            line = _line(passed, now)
            if said.get(passed.run_id) != line:
                said[passed.run_id] = line
                print(f"{clock(now)} {line}", flush=True)

    return say


def show_runs(found: Sequence[PassResult], now: datetime, *, as_json: bool) -> None:
    """How the open runs stand."""
    if as_json:
        console.write_json([_values(one, now) for one in found])
        return
    problems = [Text(f"{one.run_id}: {one.problem}", style=_mood(one)) for one in found if one.problem]
    console.write(tables.runs_table(found, now), *problems)


def show_run(found: PassResult, run: Run, now: datetime, *, as_json: bool) -> None:
    if as_json:
        console.write_json(_values(found, now))
        return
    problem = Text(found.problem or "", style=_mood(found))
    console.write(tables.run_view(run, found.seen, now), *([problem] if problem else []))


def show_places(places: Mapping[str, str | None], *, as_json: bool) -> None:
    if as_json:
        console.write_json(places)
        return
    console.write(*(f"{name:8} {place or 'none yet'}" for name, place in places.items()))


def show_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        console.write_json([values.finding(finding) for finding in findings])
        return
    width = max((len(finding.check) for finding in findings), default=0)
    for finding in findings:
        table = tables.facts([])
        table.add_column(overflow="fold")
        status = Text(f"{finding.status:7}", style=_STYLES[finding.status])
        table.add_row(status, finding.check.ljust(width), finding.detail)
        console.write(table, *([f"  fix:   {finding.fix}"] if finding.fix else []))


def _passes(passes: Sequence[PassResult], now: datetime, *, brief: bool = False) -> RenderableType:
    lines = [Text(f"{passed.run_id}: {_why(passed)}", style=_mood(passed)) for passed in passes]
    if len(passes) == 1 and (run := passes[0].run):
        return Group(tables.run_view(run, passes[0].seen, now, brief=brief), "", *lines)
    return Group(tables.runs_table(passes, now), *([""] if passes else []), *lines)


def _line(passed: PassResult, now: datetime) -> str:
    run = passed.run
    if run is None or run.active is None:
        return f"{passed.run_id} {run.state if run else 'unknown'}: {_why(passed)}"
    steps = f", {tables.steps(passed.seen)}" if passed.seen and passed.seen.progress else ""
    left = f"{hours(run.spec.deadline - now)} to the deadline"
    where = "; ".join(map(tables.where, run.active_attempts))
    return f"{run.id} {run.state} ({where}{steps}), {left}: {_why(passed)}"


def _why(passed: PassResult) -> str:
    """What keeps a run, or how it ended."""
    run = passed.run
    how = run.decisions[-1].reason if run and run.decisions and not _is_open(passed) else passed.waiting_for
    return passed.problem or how


def _is_open(passed: PassResult) -> bool:
    return passed.run is None or passed.run.state is RunState.OPEN


def _values(found: PassResult, now: datetime) -> dict[str, Any]:
    of_run = values.run(found.run, found.seen, now) if found.run else {"id": found.run_id}
    return {**of_run, "problem": found.problem}


def _mood(passed: PassResult) -> str:
    return "bold red" if passed.problem else ""
