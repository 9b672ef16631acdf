"""Show progress: a bar on a terminal, elsewhere one log line per interval."""

from __future__ import annotations

import logging
import sys
from typing import Any

from spot.core.clock import Clock
from spot.trainer.state import TrainingState

BAR_EVERY_S = 0.1

_log = logging.getLogger(__name__)


class ProgressDisplay:
    """Show steps and scores. Use as a context manager; `interval_s` applies to log lines."""

    def __init__(self, interval_s: float, clock: Clock, *, terminal: bool | None = None) -> None:
        self._clock = clock
        self._bar: Any = _bar() if (sys.stdout.isatty() if terminal is None else terminal) else None
        self._every = BAR_EVERY_S if self._bar else interval_s
        self._next = clock.monotonic() + self._every

    def __enter__(self) -> ProgressDisplay:
        if self._bar:
            self._bar.start()
            _redirect_log()  # the bar replaces standard output, so that log lines appear above it
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
            _redirect_log()

    def begin(self, state: TrainingState) -> None:
        """Show the step at which training starts or resumes."""
        if self._bar:
            self._bar.add_task("training", total=state.plan.total_steps, completed=state.step, scores=_scores(state))

    def stepped(self, state: TrainingState) -> None:
        """Show the step if the interval is over."""
        total = state.plan.total_steps
        if self._clock.monotonic() < self._next and state.step < total:
            return
        self._next = self._clock.monotonic() + self._every
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=state.step, scores=_scores(state))
            return
        _log.info(
            "step %d of %d (%.0f %%), epoch %d, %.1f steps/s, %.0f s left, %s",
            state.step,
            total,
            100 * state.step / total,
            state.counters.epoch,
            state.steps_per_second,
            (total - state.step) / state.steps_per_second if state.steps_per_second else 0.0,
            _scores(state),
        )


def _scores(state: TrainingState) -> str:
    counters = state.counters
    if not counters.history:
        return f"{state.score_name} unknown before the first evaluation"
    newest = counters.history[-1][state.score_name]
    best = "none" if counters.best_score is None else f"{counters.best_score:.4f} at step {counters.best_step}"
    return f"{state.score_name} {newest:.4f} (best {best})"


def _redirect_log() -> None:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stdout)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[scores]}"),
        TimeRemainingColumn(),
        console=Console(),
    )
