"""A warm hand-over in whole rehearsals: real trainers and supervisors, each killed at the steps of it.

Every rehearsal begins on demand, because its deadline leaves no more than a safe margin, and there is spot everywhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from signal import SIGKILL

import pytest

from bucket import lease, manifest
from bucket.lease import Lease
from bucket.store import open_store
from rehearsal.faults import LostReply, Method, each, on
from rehearsal.launcher import TrainerLauncher
from rehearsal.performance import RUN, Finished, perform
from rehearsal.stage import ROOT, Play, Stage, set_up
from rehearsal.story import Cast
from spot.ledger import Ledger
from spot.run import Attempt, Outcome, Provisioning

pytestmark = pytest.mark.processes

PLAY = Play(epochs=40, seed=0, data=None, trace=None, container=None, engine="podman")
Cue = Callable[[Lease], bool]
SPARE, STARTS = timedelta(minutes=65), 2
"""Beside the work, and so many starts of it: on-demand is asked for at once, and then there is time for a twin."""


@dataclass
class Killer:
    """Waits for a state of the lease, and kills who is named."""

    stage: Stage
    cast: Cast
    killed: list[str] = field(default_factory=list)

    def until(self, cue: Cue) -> Generator[None, None, Lease]:
        store = open_store(f"{ROOT}/checkpoints")
        while True:
            found = lease.read(store, RUN)
            if found and cue(found):
                return found
            yield

    def kill(self, attempt: str) -> None:
        job = next(one.job for one in Ledger(open_store(ROOT)).find(RUN).run.attempts if one.id == attempt)
        launcher = self.stage.launcher
        assert isinstance(launcher, TrainerLauncher)
        launcher.processes[str(job)].interrupt(SIGKILL)
        self.killed.append(attempt)

    def kill_supervisor_at_the_next_create(self) -> None:
        self.cast.server.rule = each(LostReply(meanwhile=self.cast.kill_supervisor), where=on(Method.CREATE), count=1)


def asked(held: Lease) -> bool:
    return held.successor is not None and not held.offered


def after(term: int) -> Cue:
    return lambda held: held.term > term


def rehearse(script: Callable[[Killer], Iterator[None]]) -> Finished:
    with set_up(PLAY, print) as stage:

        def play(cast: Cast) -> Iterator[None]:
            return script(Killer(stage, cast))

        finished = perform(stage, lambda _: None, play, spare=SPARE + STARTS * stage.start)
        check_lineage()
    return finished


def check_lineage() -> None:
    """What counts is one chain: each writer began at a checkpoint of the one before it."""
    store = open_store(f"{ROOT}/checkpoints")
    commits = manifest.commits(store, RUN)
    assert [commit.step for commit in commits] == sorted({commit.step for commit in commits}, reverse=True)
    for newer, older in itertools.pairwise(commits):
        assert newer.term >= older.term
        assert newer.term == older.term or newer.from_step >= older.step


def in_time_and_the_same(finished: Finished) -> tuple[Attempt, ...]:
    frame, comparison = finished.frame, finished.comparison
    assert comparison is not None
    assert comparison.identical
    assert frame.seen.completed_at is not None
    assert frame.seen.completed_at <= frame.run.spec.deadline
    return frame.run.attempts


def completed_by(finished: Finished) -> Attempt:
    return next(attempt for attempt in finished.frame.run.attempts if attempt.outcome is Outcome.SUCCEEDED)


def test_nobody_is_killed_and_spot_ends_what_on_demand_began() -> None:
    def script(_killer: Killer) -> Iterator[None]:
        return iter(())

    finished = rehearse(script)
    holder, twin = in_time_and_the_same(finished)
    assert (holder.provisioning, holder.outcome) == (Provisioning.ON_DEMAND, Outcome.HANDED_OVER)
    assert (twin.provisioning, twin.outcome, twin.relieves) == (Provisioning.SPOT, Outcome.SUCCEEDED, holder.id)
    assert twin.from_step == holder.last_step


def test_the_supervisor_the_twin_and_the_holder_are_killed_before_the_lease_is_offered() -> None:
    def script(killer: Killer) -> Iterator[None]:
        yield from killer.until(lambda _: True)
        killer.kill_supervisor_at_the_next_create()
        held = yield from killer.until(asked)
        killer.kill(lease.attempt_of(str(held.successor)))
        first = held.successor
        held = yield from killer.until(lambda held: asked(held) and held.successor != first)
        killer.kill(held.attempt)

    finished = rehearse(script)
    attempts = in_time_and_the_same(finished)
    assert attempts[0].outcome is not Outcome.HANDED_OVER
    assert completed_by(finished).id == finished.frame.run.attempts[-1].id


def test_the_supervisor_and_the_twin_are_killed_once_the_twin_has_the_lease() -> None:
    def script(killer: Killer) -> Iterator[None]:
        held = yield from killer.until(lambda _: True)
        taken = yield from killer.until(after(held.term))
        killer.cast.kill_supervisor()
        killer.kill(taken.attempt)

    attempts = in_time_and_the_same(rehearse(script))
    assert attempts[0].outcome is Outcome.HANDED_OVER
    assert attempts[1].outcome is not Outcome.SUCCEEDED
