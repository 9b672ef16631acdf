"""Hand over in whole rehearsals: supervisor, standby and holder are killed at each step of the hand-over."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from signal import SIGKILL

import pytest

from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run
from spot.demo.environment import ROOT, Environment
from spot.demo.runner import RUN, Rehearsal
from spot.emulators.faults import Call, LostReply, Method
from spot.policy.slack import Slack
from spot.storage.factory import open_store
from spot.storage.records import lease
from spot.storage.records.lease import Lease
from spot.storage.records.ledger import Ledger
from tests.machinery.demo.rehearsals import OPTIONS, assert_succeeded, rehearse
from tests.machinery.each import each

pytestmark = pytest.mark.chaos

STATED = timedelta(hours=40)
"""Much more than the training takes: once that is measured, there is time for everything."""
RESERVE, ABOVE = timedelta(hours=6), timedelta(hours=5)
"""Slack beside the margin with which on-demand starts at once, and a spot standby as soon as it runs."""
Cue = Callable[[Lease], bool]


def on_demand_at_once(run: Run) -> Run:
    run = replace(run, spec=replace(run.spec, policy=replace(run.spec.policy, work=STATED, reserve=RESERVE)))
    margin = Slack.of(run, Observation(), run.submitted_at).margin
    return replace(run, spec=replace(run.spec, deadline=run.submitted_at + STATED + margin + ABOVE))


@dataclass(frozen=True, slots=True)
class Stage:
    """See the lease and the attempts of a rehearsal, and kill its processes."""

    environment: Environment
    rehearsal: Rehearsal

    def until(self, cue: Cue) -> Generator[None, None, Lease]:
        store = open_store(f"{ROOT}/checkpoints")
        while True:
            found = lease.read(store, RUN)
            if found and cue(found):
                return found
            yield

    def until_a_standby_starts(self, *, after: str = "") -> Generator[None, None, str]:
        while True:
            attempts = Ledger(open_store(ROOT)).find(RUN).run.attempts
            started = [one.id for one in attempts if one.replaces and one.id in self.environment.launcher.trainers]
            if started and started[-1] != after:
                return started[-1]
            yield

    def kill(self, attempt: str) -> None:
        self.environment.launcher.trainers[attempt].interrupt(SIGKILL)

    def kill_supervisor_after_the_next_create_of_a_standby(self) -> None:
        crash = LostReply(meanwhile=partial(self.rehearsal.kill_supervisor, "after a create"))
        self.rehearsal.server.rule = each(crash, where=creates_spot, count=1)


def creates_spot(call: Call) -> bool:
    return call.method is Method.CREATE and call.request is not None and call.request.provisioning is Provisioning.SPOT


def asked_by(attempt: str) -> Cue:
    return lambda held: held.successor is not None and lease.attempt_of(held.successor) == attempt


def attempts_of(play: Callable[[Stage], Iterator[None]]) -> tuple[Attempt, ...]:
    """Rehearse with spot capacity everywhere, and a deadline for which the stated work asks for on-demand at once."""

    def script(environment: Environment, rehearsal: Rehearsal) -> Iterator[None]:
        return play(Stage(environment, rehearsal))

    run = assert_succeeded(rehearse(OPTIONS, script, on_demand_at_once))
    assert run.attempts[0].provisioning is Provisioning.ON_DEMAND
    assert run.attempts[1].replaces == run.attempts[0].id
    return run.attempts


def test_without_a_kill_spot_ends_what_on_demand_began() -> None:
    holder, standby = attempts_of(lambda _: iter(()))
    assert (holder.outcome, standby.outcome) == (Outcome.HANDED_OVER, Outcome.SUCCEEDED)
    assert standby.from_step == holder.last_step


def test_supervisor_standby_and_holder_are_killed_before_the_lease_is_offered() -> None:
    def play(stage: Stage) -> Iterator[None]:
        stage.kill_supervisor_after_the_next_create_of_a_standby()
        first = yield from stage.until_a_standby_starts()
        yield from stage.until(asked_by(first))
        stage.kill(first)
        second = yield from stage.until_a_standby_starts(after=first)
        yield from stage.until(asked_by(second))
        stage.kill("a1")

    holder, first, second, *_ = attempts_of(play)
    assert second.replaces == holder.id
    assert Outcome.HANDED_OVER not in {holder.outcome, first.outcome}
    assert second.advanced_at


def test_supervisor_and_standby_are_killed_once_the_standby_has_the_lease() -> None:
    def play(stage: Stage) -> Iterator[None]:
        first = yield from stage.until(lambda _: True)
        held = yield from stage.until(lambda held: held.token > first.token)
        stage.rehearsal.kill_supervisor("after a hand-over")
        stage.kill(held.attempt)

    holder, standby, *after = attempts_of(play)
    assert holder.outcome is Outcome.HANDED_OVER
    assert standby.outcome is not Outcome.SUCCEEDED
    assert after
