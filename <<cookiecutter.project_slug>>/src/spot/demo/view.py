"""Show a rehearsal: live on a terminal, as plain lines elsewhere, and as tables at its end."""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime, timedelta

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spot.core.format import hours, state_of
from spot.core.run import Attempt
from spot.demo.runner import Result, Snapshot

LAST_LINES = 10
WIDTH = 120
BAR = 40
RIGHT = {"at", "waited", "ran", "lost", "cost"}
"""The columns with numbers."""


class Timeline:
    """Show events and the state of the run within its context; safe in any thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._snapshot: Snapshot | None = None
        self._lock = threading.Lock()
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None

    def __enter__(self) -> Timeline:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def log(self, line: str) -> None:
        """Show an event with its time."""
        with self._lock:
            stamp = since(self._snapshot.now, self._snapshot) if self._snapshot else ""
            stamped = f"{stamp:>9}  {line}"
            self._lines.append(stamped)
            if not self._live:
                print(stamped, file=self._console.file, flush=True)
        self._draw()

    def show(self, snapshot: Snapshot) -> None:
        """Replace the shown state."""
        self._snapshot = snapshot
        self._draw()

    def _draw(self) -> None:
        if self._live is None:
            return
        parts: list[RenderableType] = []
        if self._snapshot:
            parts = [_clock(self._snapshot), attempts(self._snapshot)]
        with self._lock:
            parts += [Text(line, overflow="ellipsis", no_wrap=True) for line in self._lines]
        self._live.update(Group(*parts))


def since(moment: datetime, snapshot: Snapshot) -> str:
    """Return the time since the submit, as `+3 h 05 min`."""
    minutes = round((moment - snapshot.run.submitted_at) / timedelta(minutes=1))
    return f"+{minutes // 60} h {minutes % 60:02d} min"


def _short(moment: datetime, snapshot: Snapshot) -> str:
    return since(moment, snapshot).removesuffix(" min")


def attempts(snapshot: Snapshot) -> Table:
    """Return the attempts as a table that fits 80 columns."""
    table = _table("at", "", "where", "waited", "ran", "outcome", "steps", "lost", "cost")
    for attempt in snapshot.run.attempts:
        reached, lost = _reached(attempt, snapshot), _lost(attempt, snapshot)
        table.add_row(
            _short(attempt.intended_at, snapshot),
            attempt.id,
            f"{attempt.provisioning} {attempt.region}",
            hours((attempt.started_at or attempt.ended_at or snapshot.now) - attempt.intended_at),
            hours((attempt.ended_at or snapshot.now) - attempt.started_at) if attempt.started_at else "",
            attempt.outcome or state_of(attempt),
            f"{attempt.from_step}-{reached}" if reached else "",
            "" if lost is None else str(lost),
            _cost(attempt, snapshot),
        )
    return table


def ending(result: Result) -> RenderableType:
    """Return attempts, decisions and the comparison with the baseline."""
    snapshot = result.snapshot
    decisions = _table("at", "decision", "reason", title="decisions of the supervisor")
    for decision in snapshot.run.decisions:
        decisions.add_row(_short(decision.at, snapshot), decision.action, decision.reason)
    return Group("", attempts(snapshot), "", decisions, "", *_verdict(result))


def _table(*names: str, title: str | None = None) -> Table:
    """Return an empty table that wraps long cells."""
    table = Table(box=box.SIMPLE, show_edge=False, padding=0, title=title, title_justify="left")
    for name in names:
        table.add_column(name, justify="right" if name in RIGHT else "left", overflow="fold")
    return table


def _verdict(result: Result) -> list[Text]:
    snapshot, comparison = result.snapshot, result.comparison
    run = snapshot.run
    if comparison is None:
        return [Text(f"run {run.id} ended: {run.state}", style="bold red")]
    at = snapshot.seen.completed_at or snapshot.now
    early = run.spec.deadline - at
    lost = sum(_lost(attempt, snapshot) or 0 for attempt in run.attempts)
    when = f"{hours(early)} before the deadline" if early >= timedelta() else f"{hours(-early)} LATE"
    same = {True: "identical", False: "DIFFERENT"}
    return [
        Text(f"complete at {since(at, snapshot)}, {when}; {comparison.steps} steps, {lost} recomputed"),
        Text(f"{comparison.score_name} {comparison.score:.4f} on held-out data"),
        Text(
            f"against the baseline: weights {same[comparison.same_weights]}, metrics {same[comparison.same_metrics]},"
            f" order {same[comparison.same_order]}",
            style="bold green" if comparison.identical else "bold red",
        ),
    ]


def _clock(snapshot: Snapshot) -> RenderableType:
    run, progress = snapshot.run, snapshot.seen.progress
    whole = (run.spec.deadline - run.submitted_at).total_seconds()
    gone = (snapshot.now - run.submitted_at).total_seconds()
    table = Table(box=None, show_header=False)
    table.add_row(
        "time",
        ProgressBar(total=whole, completed=gone, width=BAR),
        f"{since(snapshot.now, snapshot)} of {hours(run.spec.deadline - run.submitted_at)}",
    )
    done, total = (progress.step, progress.total_steps) if progress else (0, 1)
    table.add_row(
        "steps", ProgressBar(total=total, completed=done, width=BAR), f"step {done} of {total}" if progress else ""
    )
    return table


def _reached(attempt: Attempt, snapshot: Snapshot) -> int:
    """Return the last step that the trainer logged or saved; 0 if it made none."""
    logged = snapshot.reached.get(attempt.id, 0)
    return max(logged, attempt.last_step or 0) if logged else 0


def _lost(attempt: Attempt, snapshot: Snapshot) -> int | None:
    """Return the steps after the last checkpoint, which the next start recomputes; None while unknown."""
    reached = _reached(attempt, snapshot)
    return max(reached - attempt.last_step, 0) if reached and attempt.last_step is not None else None


def _cost(attempt: Attempt, snapshot: Snapshot) -> str:
    price = snapshot.run.spec.policy.price(attempt.region, attempt.provisioning)
    billed = attempt.billed_hours(snapshot.now)
    return f"${price * billed:.2f}" if price is not None and billed else ""
