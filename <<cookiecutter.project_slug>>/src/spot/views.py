"""What people see: tables on a terminal, plain lines elsewhere; and what programs get: one JSON document."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spot import values
from spot.finding import Finding, Status
from spot.reconcile import Passed
from spot.run import Attempt, Observation, Outcome, Run, RunState
from spot.show import clock, hours
from spot.situation import Situation, assess
from spot.submit import Plan

BAR = 30
_STYLES = {
    RunState.SUCCEEDED: "green",
    RunState.FAILED: "bold red",
    RunState.CANCELLED: "yellow",
    Outcome.SUCCEEDED: "green",
    Outcome.PREEMPTED: "yellow",
    Outcome.NO_CAPACITY: "yellow",
    Outcome.CANCELLED: "dim",
    Outcome.UNKNOWN: "magenta",
    Status.OK: "green",
    Status.WARNING: "yellow",
    Status.FAILED: "bold red",
    Status.UNKNOWN: "magenta",
}
LAST_DECISIONS = 12


def show_plan(plan: Plan, request: Mapping[str, Any] | None, *, as_json: bool) -> None:
    """What would be done; `request` is the body of the first create, None if nothing would be created."""
    if as_json:
        _print_json({"plan": values.plan(plan), "request": request})
        return
    console = _console()
    console.print(_plan_table(plan))
    if request is not None and plan.first is not None:
        where = f"projects/{plan.run.spec.project}/locations/{plan.first.region}/customJobs"
        console.print(f"\nthe request: POST {where}", soft_wrap=True)
        console.print_json(data=request)


def show_submitted(plan: Plan, passed: Passed, *, as_json: bool) -> None:
    if as_json:
        _print_json({"plan": values.plan(plan), **values.passed(passed)})
        return
    console = _console()
    console.print(_plan_table(plan))
    console.print(f"\nfollow it: spot watch {plan.run.id}    look at it: spot status {plan.run.id}", soft_wrap=True)


def show_passes(passes: Sequence[Passed], now: datetime, *, as_json: bool) -> None:
    if as_json:
        _print_json([values.passed(passed) for passed in passes])
        return
    if not passes:
        _console().print("no run is open")
        return
    _console().print(_passes(passes, now))


@contextlib.contextmanager
def watching(*, as_json: bool) -> Iterator[Callable[[Sequence[Passed], datetime], None]]:
    """Show pass after pass: in place on a terminal, by what is new elsewhere."""
    if as_json:
        yield lambda passes, now: print(
            json.dumps({"at": now.isoformat(), "runs": [values.passed(p) for p in passes]}), flush=True
        )
        return
    console = _console()
    if not console.is_terminal:
        said: dict[str, str] = {}

        def say(passes: Sequence[Passed], now: datetime) -> None:
            for passed in passes:
                line = _line(passed, now)
                if said.get(passed.run_id) != line:
                    said[passed.run_id] = line
                    print(f"{clock(now)} {line}", flush=True)

        yield say
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda passes, now: live.update(_passes(passes, now), refresh=True)


def show_runs(runs: Sequence[tuple[Run, Observation]], now: datetime, *, as_json: bool) -> None:
    if as_json:
        _print_json([values.run(run, seen, now) for run, seen in runs])
        return
    if not runs:
        _console().print("no run is open")
        return
    _console().print(_runs_table(runs, now))


def show_run(run: Run, seen: Observation, now: datetime, *, as_json: bool) -> None:
    if as_json:
        _print_json(values.run(run, seen, now))
        return
    _console().print(run_view(run, seen, now))


def show_line(line: str, run: Run, *, as_json: bool) -> None:
    if as_json:
        _print_json({"run": run.id, "state": run.state})
        return
    _console().print(line)


def show_places(places: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        _print_json(places)
        return
    for name, place in places.items():
        print(f"{name:8} {place}")


def show_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        _print_json([values.finding(finding) for finding in findings])
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        detail = Text(finding.detail)
        if finding.fix:
            detail.append(f"\nfix: {finding.fix}", style="bold")
        table.add_row(_styled(finding.status), finding.check, detail)
    _console().print(table)


def run_view(run: Run, seen: Observation, now: datetime) -> RenderableType:
    """Everything about one run: how it stands, its attempts, its newest decisions."""
    decisions = Table(box=box.SIMPLE, title="decisions", title_justify="left")
    for name in ("at", "what", "why"):
        decisions.add_column(name, overflow="fold", no_wrap=name == "at")
    for decision in run.decisions[-LAST_DECISIONS:]:
        decisions.add_row(clock(decision.at), decision.action, decision.reason)
    if hidden := len(run.decisions) - LAST_DECISIONS:
        decisions.caption = f"{hidden} earlier ones: --json has all" if hidden > 0 else None
    return Group(_runs_table([(run, seen)], now), attempts_table(run), decisions)


def attempts_table(run: Run) -> Table:
    table = Table(box=box.SIMPLE, title="attempts", title_justify="left")
    for name in ("attempt", "provisioning", "region", "submitted", "waited", "ran", "steps", "outcome"):
        table.add_column(name, justify="right" if name in {"waited", "ran", "steps"} else "left")
    for attempt in run.attempts:
        table.add_row(
            attempt.id,
            attempt.provisioning,
            attempt.region,
            clock(attempt.intended_at),
            _waited(attempt),
            hours(attempt.ended_at - attempt.started_at) if attempt.started_at and attempt.ended_at else "",
            f"{attempt.from_step} -> {'' if attempt.last_step is None else attempt.last_step}",
            outcome_text(attempt),
        )
    return table


def outcome_text(attempt: Attempt) -> Text:
    """How an attempt ended, or the state it is in."""
    return _styled(attempt.outcome) if attempt.outcome else Text(attempt.state.name.lower())


def _waited(attempt: Attempt) -> str:
    until = attempt.started_at or attempt.ended_at
    return hours(until - attempt.intended_at) if until else ""


def _runs_table(runs: Sequence[tuple[Run, Observation]], now: datetime) -> Table:
    table = Table(box=box.SIMPLE)
    for name in ("run", "state", "progress", "", "where", "deadline", "slack", "spent"):
        table.add_column(name, no_wrap=name in {"run", "deadline"}, justify="right" if name == "slack" else "left")
    for run, seen in runs:
        situation = assess(run, seen, now)
        spent = run.usd_spent(now)
        table.add_row(
            run.id,
            _styled(run.state),
            _bar(run, seen),
            _steps(seen),
            _where(run),
            clock(run.spec.deadline),
            _slack(run, situation),
            "" if spent is None else f"${spent:.2f}",
        )
    return table


def _passes(passes: Sequence[Passed], now: datetime) -> RenderableType:
    seen = [(passed.run, passed.seen or Observation()) for passed in passes if passed.run]
    lines = [Text(f"{passed.run_id}: {passed.problem or passed.next}", style=_mood(passed)) for passed in passes]
    if len(seen) == 1:
        return Group(run_view(*seen[0], now), *lines)
    return Group(_runs_table(seen, now), *lines)


def _line(passed: Passed, now: datetime) -> str:
    steps = f", {_steps(passed.seen)}" if passed.seen and passed.seen.progress else ""
    where = f" ({_where(passed.run)}{steps})" if passed.run and passed.run.live else ""
    state = passed.run.state if passed.run else "unknown"
    left = f", {hours(passed.run.spec.deadline - now)} to the deadline" if passed.run and passed.run.live else ""
    return f"{passed.run_id} {state}{where}{left}: {passed.problem or passed.next}"


def _plan_table(plan: Plan) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.plan_lines(plan):
        table.add_row(name, value)
    return table


def _bar(run: Run, seen: Observation) -> ProgressBar | str:
    if seen.completed_at or run.state is RunState.SUCCEEDED:
        return ProgressBar(total=1, completed=1, width=BAR)
    progress = seen.progress
    return ProgressBar(total=progress.total_steps, completed=progress.step, width=BAR) if progress else ""


def _steps(seen: Observation) -> str:
    progress = seen.progress
    if progress is None:
        return "no checkpoint yet"
    return f"{progress.step} of {progress.total_steps}"


def _where(run: Run) -> str:
    live = run.live
    return f"{live.provisioning} in {live.region}, {live.state.name.lower()}" if live else "nothing runs"


def _slack(run: Run, situation: Situation) -> Text:
    if run.state is not RunState.OPEN:
        return Text("")
    late = situation.slack <= situation.margin
    return Text(hours(situation.slack), style="bold red" if late else "")


def _mood(passed: Passed) -> str:
    return "bold red" if passed.problem else ""


def _styled(word: Outcome | RunState | Status) -> Text:
    return Text(word, style=_STYLES.get(word, "red" if isinstance(word, Outcome) else ""))


def _console() -> Console:
    return Console(highlight=False)


def _print_json(document: object) -> None:
    json.dump(document, sys.stdout, indent=1)
    print()
