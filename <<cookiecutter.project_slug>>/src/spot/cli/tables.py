"""A run, or several, as tables: how they stand, their attempts, their decisions. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spot.core.format import clock, hours, short, state_of
from spot.core.run import Attempt, Observation, Outcome, Run, RunState
from spot.policy.slack import Slack, assess
from spot.supervisor.reconcile import PassResult

BAR = 20
LAST_DECISIONS = 12
BRIEF = 4
"""Attempts and decisions."""
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


def run_view(run: Run, seen: Observation | None, now: datetime, *, brief: bool = False) -> RenderableType:
    """One run: how it stands, its attempts, its newest decisions. If `brief`, it fits on a screen.

    `seen` is None where the bucket was not asked, or did not say: nothing is shown of what rests on that.
    """
    newest = BRIEF if brief else LAST_DECISIONS
    parts: list[RenderableType] = [_standing(run, seen, now)]
    if run.attempts:
        parts += ["", attempts_table(run.attempts[-BRIEF:] if brief else run.attempts)]
    if run.decisions:
        newest_ones = [(short(one.at), Text(f"{one.action}: {one.reason}")) for one in run.decisions[-newest:]]
        parts += ["", facts(newest_ones)]
        if (hidden := len(run.decisions) - newest) > 0:
            parts.append(Text(f"{hidden} earlier ones: spot status {run.id} --json", style="dim"))
    return Group(*parts)


def attempts_table(attempts: Sequence[Attempt]) -> Table:
    """A line each; 80 columns hold the longest words."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "where", "submitted", "waited", "ran", "steps", "outcome"):
        table.add_column(name, justify="right" if name in {"waited", "ran", "steps"} else "left", overflow="fold")
    for attempt in attempts:
        table.add_row(
            attempt.id,
            f"{attempt.provisioning} {attempt.region}",
            short(attempt.intended_at),
            _waited(attempt),
            hours(attempt.ended_at - attempt.started_at) if attempt.started_at and attempt.ended_at else "",
            f"{attempt.from_step}-{'' if attempt.last_step is None else attempt.last_step}",
            outcome_text(attempt),
        )
    return table


def outcome_text(attempt: Attempt) -> Text:
    """How an attempt ended, or the state it is in."""
    return _styled(attempt.outcome) if attempt.outcome else Text(state_of(attempt))


def _standing(run: Run, seen: Observation | None, now: datetime) -> Table:
    """The work and the time, one bar above the other, and what they mean."""
    situation = assess(run, seen or Observation(), now)
    is_open = run.state is RunState.OPEN
    table = facts([("run", Text.assemble(run.id, "  ", _styled(run.state)))])
    if seen:
        left = f", {hours(situation.work)} of work left" if is_open else ""
        table.add_row("work", _bar(_done(run, seen), f"{steps(seen)}{left}"))
    gone, whole = (run.ended_at or now) - run.submitted_at, situation.whole
    time = f"{hours(gone)} of {hours(whole)}, deadline {clock(run.spec.deadline)}"
    table.add_row("time", _bar(gone / whole if whole else 1.0, time))
    table.add_row("now", _now(run, now))
    if is_open and seen:
        table.add_row("slack", _slack(situation).append(f", safety line {clock(situation.safety_line)}"))
    table.add_row("spent", _spent(run, now))
    if seen and seen.completed_at:
        table.add_row("model", run.model)
    return table


def runs_table(found: Sequence[PassResult], now: datetime) -> RenderableType:
    """A line for each run whose record was read."""
    runs = [(one.run, one.seen) for one in found if one.run]
    if not runs:
        return Text("" if found else "no run is open")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("run", "done", "time left", "slack", "spent", "now"):
        table.add_column(
            name, justify="left" if name in {"run", "now"} else "right", overflow="fold", no_wrap=name == "run"
        )
    for run, seen in runs:
        situation, is_open = assess(run, seen or Observation(), now), run.state is RunState.OPEN
        done = f"{_done(run, seen):.0%}" if seen else "?"
        slack = _slack(situation) if is_open and seen else ""
        left = hours(situation.left) if is_open else ""
        table.add_row(run.id, done, left, slack, _spent(run, now).partition(" ")[0], _now(run, now))
    return table


def _slack(situation: Slack) -> Text:
    return Text(hours(situation.slack), style="bold red" if situation.slack <= situation.margin else "")


def facts(rows: Sequence[tuple[str, str | Text]]) -> Table:
    """Names and what they stand for, one below the other."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def _bar(share: float, text: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_row(ProgressBar(total=1, completed=min(max(share, 0.0), 1.0), width=BAR), text)
    return grid


def _done(run: Run, seen: Observation) -> float:
    """The share of the work that is safe."""
    if seen.completed_at or run.state is RunState.SUCCEEDED:
        return 1.0
    progress = seen.progress
    return progress.step / max(progress.total_steps, 1) if progress else 0.0


def steps(seen: Observation) -> str:
    progress = seen.progress
    if seen.completed_at and progress is None:
        return "complete"
    return f"{progress.step} of {progress.total_steps} steps" if progress else "no checkpoint yet"


def _now(run: Run, now: datetime) -> str | Text:
    if run.state is not RunState.OPEN:
        return _styled(run.state) if run.ended_at is None else Text(f"{run.state} at {clock(run.ended_at)}")
    ending = f"; {run.cancel_request.by} asked for its end" if run.cancel_request else ""
    return f"{'; '.join(_living(active, now) for active in run.active_attempts) or 'nothing runs'}{ending}"


def _living(active: Attempt, now: datetime) -> str:
    since = active.started_at or active.intended_at
    beside = f" beside {active.replaces}" if active.replaces else ""
    return f"{where(active)} for {hours(max(now - since, timedelta()))}{beside}"


def where(active: Attempt) -> str:
    return f"{active.provisioning} in {active.region}, {state_of(active)}"


def _spent(run: Run, now: datetime) -> str:
    spent, budget = run.usd_spent(now), run.spec.policy.budget_usd
    of_budget = f" of ${budget:.2f}" if budget is not None else ""
    return "? (a price is not known)" if spent is None else f"${spent:.2f}{of_budget}"


def _waited(attempt: Attempt) -> str:
    until = attempt.started_at or attempt.ended_at
    return hours(until - attempt.intended_at) if until else ""


def _styled(word: Outcome | RunState) -> Text:
    return Text(word, style=_STYLES.get(word, "red" if isinstance(word, Outcome) else ""))
