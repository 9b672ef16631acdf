"""Rehearse whole runs of the fixture task in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from spot.core.history import Condition
from spot.core.run import Run
from spot.demo.environment import ROOT, Environment, Options, set_up
from spot.demo.runner import Event, Rehearsal, Result, new_run, run_rehearsal
from spot.demo.scenario import scenario
from spot.emulators.faults import Method
from spot.storage.factory import open_store
from spot.storage.records import manifest
from tests.machinery.fixture_task import PACKAGE

Play = Callable[[Environment, Rehearsal], Iterator[None]]
OPTIONS = Options(training=("--epochs", "100", "--max-steps", "150"), task=PACKAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """Hold the end of a rehearsal, its events, and the attempts for which Vertex AI made a job."""

    result: Result
    events: tuple[Event, ...]
    created: tuple[str, ...]


def rehearse(
    options: Options = OPTIONS, play: Play | None = None, change: Callable[[Run], Run] = lambda run: run
) -> Rehearsed:
    """Rehearse a run, changed before its submit. `play` replaces the scenario."""
    events = list[Event]()
    with set_up(options) as environment:
        run = change(new_run(environment))
        script = partial(play, environment) if play else scenario
        result = run_rehearsal(environment, events.append, script, run)
        check_lineage(run.id)
        created = tuple(
            call.request.labels["attempt"]
            for call in environment.server.calls
            if call.method is Method.CREATE and call.request
        )
    return Rehearsed(result=result, events=tuple(events), created=created)


def check_lineage(run: str) -> None:
    """Assert that the committed checkpoints are one line: each writer began where the one before it had come to."""
    commits = manifest.commits(open_store(f"{ROOT}/checkpoints"), run)
    assert commits
    for newer, older in itertools.pairwise(commits):
        assert (newer.step, newer.token) > (older.step, older.token)
        assert newer.token == older.token or newer.from_step >= older.step


def assert_succeeded(rehearsed: Rehearsed) -> Run:
    """Assert identical weights, a met deadline and one job per attempt, and return the run."""
    result = rehearsed.result
    said = [f"{event.at:%H:%M} {event.text}" for event in rehearsed.events]
    assert result.comparison is not None, said
    assert result.comparison.identical, said
    assert result.succeeded, (result.account.to_spare, said)
    assert Condition.RECONCILE_INTERVAL not in {alarm.condition for alarm in result.run.alarms}
    assert len(set(rehearsed.created)) == len(rehearsed.created), rehearsed.created
    return result.run
