"""Plays the replays of a forecast, many at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from spot.draws import Draws
from spot.forecast import Case, Forecast, Rival, Sample, Task, forecast, play
from spot.windows import Windows

CHUNK = 50
"""Replays that are played in one go."""
NOT_WORTH_IT = 200
"""So few replays are done before another process has started."""


def forecasts(
    cases: Sequence[Case], windows: Windows, draws: Draws, starts: Sequence[int], done: Callable[[int], None]
) -> list[Forecast]:
    """One for each case; `done` is told of so many replays more. Raises `ReplayError`."""
    tasks = [
        Task(case=case, rival=rival, windows=windows, draws=draws, starts=starts[first : first + CHUNK])
        for case in cases
        for rival in Rival
        for first in range(0, len(starts), CHUNK)
    ]
    played = list(zip(tasks, _played(tasks, done), strict=True))
    return [forecast(case, [(task.rival, samples) for task, samples in played if task.case is case]) for case in cases]


def _played(tasks: Sequence[Task], done: Callable[[int], None]) -> list[list[Sample]]:
    workers = min(os.cpu_count() or 1, len(tasks))
    if workers == 1 or sum(len(task.starts) for task in tasks) <= NOT_WORTH_IT:
        found = []
        for task in tasks:
            found.append(play(task))
            done(len(task.starts))
        return found
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _leave_interrupts_alone) as pool:
        futures = [pool.submit(play, task) for task in tasks]
        try:
            for future in as_completed(futures):
                done(len(future.result()))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _leave_interrupts_alone() -> None:
    """The parent hears of them too, and ends us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
