"""Plays the replays of a forecast, many at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from spot.simulation.forecast import Baseline, Case, Forecast, Sample, Task, forecast, play
from spot.simulation.startup_times import StartupTimes
from spot.simulation.windows import Windows

CHUNK = 50
"""Replays that are played in one go."""
NOT_WORTH_IT = 200
"""So few replays are done before another process has started."""


def forecasts(
    cases: Sequence[Case], windows: Windows, draws: StartupTimes, starts: Sequence[int], done: Callable[[int], None]
) -> list[Forecast]:
    """One for each case; `done` is told of so many replays more. Raises `ReplayError`."""
    tasks = [
        Task(case=case, rival=rival, windows=windows, draws=draws, starts=starts[first : first + CHUNK])
        for case in cases
        for rival in Baseline
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
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        try:
            with _interrupts_later():
                futures = [pool.submit(play, task) for task in tasks]
            for future in as_completed(futures):
                done(len(future.result()))
        except BaseException:
            for worker in multiprocessing.active_children():
                if worker not in others:
                    worker.terminate()  # what it plays is of no use to anybody any more
            raise
        return [future.result() for future in futures]


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """What starts here hears of none at all: we hear of them too, and end it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
