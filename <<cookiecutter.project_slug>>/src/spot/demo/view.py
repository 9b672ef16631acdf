"""What people see of a rehearsal: a live timeline on a terminal, plain lines elsewhere, and all of it at its end."""

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

from spot.cli.tables import outcome_text
from spot.core.format import hours
from spot.core.run import Attempt
from spot.demo.runner import Finished, Frame

LAST_LINES = 10
WIDTH = 120
BAR = 40
RIGHT = {"at", "waited", "ran", "lost", "cost"}
"""The columns of numbers."""


class Timeline:
    """Use as a context manager. `tell` takes what happens, `show` how things stand; both from any thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._frame: Frame | None = None
        self._lock = threading.Lock()
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None

    def __enter__(self) -> Timeline:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def tell(self, line: str) -> None:
        with self._lock:
            stamped = f"{self._stamp():>9}  {line}"
            self._lines.append(stamped)
            if not self._live:
                print(stamped, file=self._console.file, flush=True)
        self._draw()

    def show(self, frame: Frame) -> None:
        self._frame = frame
        self._draw()

    def _stamp(self) -> str:
        if self._frame is None:
            return ""
        return since(self._frame.now, self._frame)

    def _draw(self) -> None:
        if self._live is None:
            return
        parts: list[RenderableType] = []
        if self._frame:
            parts = [_clock(self._frame), attempts(self._frame)]
        with self._lock:
            parts += [Text(line, overflow="ellipsis", no_wrap=True) for line in self._lines]
        self._live.update(Group(*parts))


def since(moment: datetime, frame: Frame) -> str:
    """`+3 h 05 min` from submit."""
    minutes = round((moment - frame.run.submitted_at) / timedelta(minutes=1))
    return f"+{minutes // 60} h {minutes % 60:02d} min"


def _short(moment: datetime, frame: Frame) -> str:
    return since(moment, frame).removesuffix(" min")


def attempts(frame: Frame) -> Table:
    """Each attempt: where, what became of it, which steps it made, and which of them were lost. 80 columns hold it."""
    table = _table("at", "", "where", "waited", "ran", "outcome", "steps", "lost", "cost")
    for attempt in frame.run.attempts:
        table.add_row(
            _short(attempt.intended_at, frame),
            attempt.id,
            f"{attempt.provisioning} {attempt.region}",
            hours((attempt.started_at or attempt.ended_at or frame.now) - attempt.intended_at),
            hours((attempt.ended_at or frame.now) - attempt.started_at) if attempt.started_at else "",
            outcome_text(attempt),
            _steps(attempt, frame),
            _lost(attempt, frame),
            _cost(attempt, frame),
        )
    return table


def ending(finished: Finished) -> RenderableType:
    """Everything, once more, and whether it made a difference."""
    return Group("", attempts(finished.frame), "", _decisions(finished.frame), "", *_verdict(finished))


def _decisions(frame: Frame) -> Table:
    table = _table("at", "decision", "reason", title="what the supervisor decided, and why")
    for decision in frame.run.decisions:
        table.add_row(_short(decision.at, frame), decision.action, decision.reason)
    return table


def _table(*names: str, title: str | None = None) -> Table:
    """What does not fit goes on in the next line of its cell."""
    table = Table(box=box.SIMPLE, show_edge=False, padding=0, title=title, title_justify="left")
    for name in names:
        table.add_column(name, justify="right" if name in RIGHT else "left", overflow="fold")
    return table


def _verdict(finished: Finished) -> list[Text]:
    frame, comparison = finished.frame, finished.comparison
    run = frame.run
    if comparison is None:
        return [Text(f"the run has ended: {run.state}", style="bold red")]
    at = frame.seen.completed_at or frame.now
    early = run.spec.deadline - at
    lost = sum(_lost_steps(attempt, frame) for attempt in run.attempts)
    when = f"{hours(early)} before its deadline" if early >= timedelta() else f"{hours(-early)} LATE"
    same = {True: "identical", False: "DIFFERENT"}
    return [
        Text(
            f"complete at {since(at, frame)}, {when}; {comparison.score_name} {comparison.score:.4f} on held-out data"
            f" after {comparison.steps} steps, {lost} of them done twice"
        ),
        Text(
            f"weights {same[comparison.same_weights]}, metrics {same[comparison.same_metrics]},"
            f" order of samples {same[comparison.same_order]} to the uninterrupted run's",
            style="bold green" if comparison.identical else "bold red",
        ),
    ]


def _clock(frame: Frame) -> RenderableType:
    run, progress = frame.run, frame.seen.progress
    whole = (run.spec.deadline - run.submitted_at).total_seconds()
    gone = (frame.now - run.submitted_at).total_seconds()
    table = Table(box=None, show_header=False)
    table.add_row(
        "time",
        ProgressBar(total=whole, completed=gone, width=BAR),
        f"{since(frame.now, frame)} of {hours(run.spec.deadline - run.submitted_at)}",
    )
    done, total = (progress.step, progress.total_steps) if progress else (0, 1)
    table.add_row(
        "work", ProgressBar(total=total, completed=done, width=BAR), f"step {done} of {total}" if progress else ""
    )
    return table


def _steps(attempt: Attempt, frame: Frame) -> str:
    reached = _reached(attempt, frame)
    return f"{attempt.from_step}-{reached}" if reached else ""


def _reached(attempt: Attempt, frame: Frame) -> int:
    """The last step that it told of, or saved without telling; 0 if its trainer did not get to any."""
    told = frame.reached.get(attempt.id, 0)
    return max(told, attempt.last_step or 0) if told else 0


def _lost(attempt: Attempt, frame: Frame) -> str:
    return str(_lost_steps(attempt, frame)) if attempt.last_step is not None and _reached(attempt, frame) else ""


def _lost_steps(attempt: Attempt, frame: Frame) -> int:
    """Steps that the trainer made and the next start makes again."""
    return max(_reached(attempt, frame) - attempt.last_step, 0) if attempt.last_step is not None else 0


def _cost(attempt: Attempt, frame: Frame) -> str:
    price = frame.run.spec.policy.price(attempt.region, attempt.provisioning)
    billed = attempt.billed_hours(frame.now)
    return f"${price * billed:.2f}" if price is not None and billed else ""
