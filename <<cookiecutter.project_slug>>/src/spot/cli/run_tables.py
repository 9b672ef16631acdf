"""Render runs as text: their standing, attempts and decisions."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spot.core.format import clock, hours, percent, short, state_of
from spot.core.run import Attempt, Observation, Outcome, Run, RunState
from spot.core.tables import LAST_DECISIONS, decisions, facts, table
from spot.policy.slack import Slack
from spot.supervisor.reconcile import RunResult

BAR = 20
BRIEF = 4
"""Attempts and decisions in a brief view."""
_STYLES = {
    RunState.SUCCEEDED: "green",
    RunState.FAILED: "bold red",
    RunState.CANCELLED: "yellow",
    Outcome.SUCCEEDED: "green",
    Outcome.PREEMPTED: "yellow",
    Outcome.NO_CAPACITY: "yellow",
    Outcome.CANCELLED: "dim",
    Outcome.UNKNOWN: "magenta",
}


def runs(found: Sequence[RunResult], now: datetime, *, alone: bool, is_brief: bool = False) -> RenderableType:
    """Return one run in detail if it is `alone`, else one line per run. Problems and reasons stand below."""
    reasons = [Text(f"{one.run_id}: {why}", style=mood(one)) for one in found if (why := _why(one))]
    alarms = [
        Text(f"{one.run_id}: ALARM {short(alarm.at)} {alarm}", style="bold red")
        for one in found
        if one.run
        for alarm in one.run.alarms
    ]
    last = max((one.reconciled for one in found if one.reconciled), key=lambda last: last.at, default=None)
    reconciled = [Text(f"last reconcile {clock(last.at)} ({last.home})", style="dim")] if last else []
    below = [Text(), *alarms, *reasons, *reconciled] if alarms or reasons or reconciled else []
    if alone and found and (run := found[0].run):
        return Group(run_view(run, found[0].seen, now, is_brief=is_brief), *below)
    return Group(_runs_table(found, now), *below)


def line(one: RunResult, now: datetime) -> str:
    """Return a run on one line of a log."""
    run = one.run
    if run is None or run.active is None:
        return f"{one.run_id} {run.state if run else 'unknown'}: {_why(one)}"
    steps = f", {_steps(one.seen)}" if one.seen and one.seen.progress else ""
    attempts = "; ".join(map(_where, run.active_attempts))
    return f"{run.id} {run.state} ({attempts}{steps}), {hours(run.spec.deadline - now)} to the deadline: {_why(one)}"


def mood(one: RunResult) -> str:
    return "bold red" if one.problem else ""


def _why(one: RunResult) -> str:
    """Return what stopped a run, what it waits for, or how it ended."""
    if one.problem:
        return one.problem
    decided = one.run.decisions[-1].reason if one.run and one.run.decisions and not one.is_open else None
    return decided or one.waiting_for


def run_view(run: Run, seen: Observation | None, now: datetime, *, is_brief: bool = False) -> RenderableType:
    """Return one run: its standing, attempts and newest decisions. A brief view fits on a screen.

    `seen` is None if the bucket was not read: whatever depends on it is left out.
    """
    parts: list[RenderableType] = [_standing(run, seen, now)]
    if run.attempts:
        parts += ["", _attempts_table(run.attempts[-BRIEF:] if is_brief else run.attempts)]
    if run.decisions:
        where = f"spot status {run.id} --json"
        parts += ["", *decisions(run.decisions, BRIEF if is_brief else LAST_DECISIONS, where)]
    return Group(*parts)


def _attempts_table(attempts: Sequence[Attempt]) -> Table:
    shown = table("", "where", "submitted", ">waited", ">ran", ">steps", "outcome")
    for attempt in attempts:
        until = attempt.started_at or attempt.ended_at
        shown.add_row(
            attempt.id,
            f"{attempt.provisioning} {attempt.region}",
            short(attempt.intended_at),
            hours(until - attempt.intended_at) if until else "",
            hours(attempt.ended_at - attempt.started_at) if attempt.started_at and attempt.ended_at else "",
            f"{attempt.from_step}-{'' if attempt.last_step is None else attempt.last_step}",
            _styled(attempt.outcome) if attempt.outcome else state_of(attempt),
        )
    return shown


def _standing(run: Run, seen: Observation | None, now: datetime) -> Table:
    slack = Slack.of(run, seen or Observation(), now)
    is_open = run.state is RunState.OPEN
    shown = facts([("run", Text.assemble(run.id, "  ", _styled(run.state)))])
    if run.parent:
        shown.add_row("resumes", run.parent.run)
    if seen:
        left = f", {hours(slack.work)} of work left" if is_open else ""
        shown.add_row("work", _bar(_done(run, seen), f"{_steps(seen)}{left}"))
    gone, whole = (run.ended_at or now) - run.submitted_at, run.spec.deadline - run.submitted_at
    time = f"{hours(gone)} of {hours(whole)}, deadline {clock(run.spec.deadline)}"
    shown.add_row("time", _bar(gone / whole if whole else 1.0, time))
    shown.add_row("now", _now(run, now))
    if is_open and seen:
        latest = f", latest on-demand start {clock(slack.latest_on_demand_start)}"
        shown.add_row("slack", _slack(slack).append(latest))
    shown.add_row("spent", _spent(run, now))
    if seen and seen.completed_at:
        shown.add_row("model", run.model)
    if seen and seen.evaluation:
        shown.add_row("score", f"{seen.evaluation.judged} on {seen.evaluation.judged.samples} samples")
    return shown


def _runs_table(found: Sequence[RunResult], now: datetime) -> RenderableType:
    read = [(one.run, one.seen) for one in found if one.run]
    if not read:
        return Text("" if found else "no run is open")
    shown = table("run", ">done", ">time left", ">slack", ">spent", "now", whole=["run"])
    for run, seen in read:
        slack, is_open = Slack.of(run, seen or Observation(), now), run.state is RunState.OPEN
        shown.add_row(
            run.id,
            percent(_done(run, seen)) if seen else "?",
            hours(slack.time_left) if is_open else "",
            _slack(slack) if is_open and seen else "",
            _spent(run, now).partition(" ")[0],
            _now(run, now),
        )
    return shown


def _slack(slack: Slack) -> Text:
    return Text(hours(slack.left), style="bold red" if slack.left <= slack.margin else "")


def _bar(share: float, text: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_row(ProgressBar(total=1, completed=min(max(share, 0.0), 1.0), width=BAR), text)
    return grid


def _done(run: Run, seen: Observation) -> float:
    """Return the share of the steps that is durable."""
    if seen.completed_at or run.state is RunState.SUCCEEDED:
        return 1.0
    return seen.progress.step / max(seen.progress.total_steps, 1) if seen.progress else 0.0


def _steps(seen: Observation) -> str:
    progress = seen.progress
    if seen.completed_at and progress is None:
        return "complete"
    return f"{progress.step} of {progress.total_steps} steps" if progress else "no checkpoint yet"


def _now(run: Run, now: datetime) -> str | Text:
    if run.state is not RunState.OPEN:
        return _styled(run.state) if run.ended_at is None else Text(f"{run.state} at {clock(run.ended_at)}")
    ending = f"; {run.cancel_request.by} cancelled the run" if run.cancel_request else ""
    return f"{'; '.join(_active(attempt, now) for attempt in run.active_attempts) or 'no attempt'}{ending}"


def _active(attempt: Attempt, now: datetime) -> str:
    since = attempt.started_at or attempt.intended_at
    replaces = f", replaces {attempt.replaces}" if attempt.replaces else ""
    return f"{_where(attempt)} for {hours(max(now - since, timedelta()))}{replaces}"


def _where(attempt: Attempt) -> str:
    return f"{attempt.provisioning} in {attempt.region}, {state_of(attempt)}"


def _spent(run: Run, now: datetime) -> str:
    spent, budget = run.usd_spent(now), run.spec.policy.budget_usd
    of_budget = f" of ${budget:.2f}" if budget is not None else ""
    return "? (a price is unknown)" if spent is None else f"${spent:.2f}{of_budget}"


def _styled(word: Outcome | RunState) -> Text:
    return Text(word, style=_STYLES.get(word, "red" if isinstance(word, Outcome) else ""))
