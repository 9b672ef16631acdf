"""Hand over in whole rehearsals: real trainers and supervisors, killed at each step of the hand-over."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from signal import SIGCONT, SIGKILL, SIGSTOP, Signals

import psutil
import pytest

from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run
from spot.demo.environment import ROOT, Environment, Options, set_up
from spot.demo.runner import RUN, Result, new_run, run_rehearsal
from spot.demo.scenario import REGIONS, Controls
from spot.emulators.custom_job import EmulatedJob
from spot.emulators.faults import Call, LostReply, Method, each
from spot.emulators.trainer_process import TrainerProcess
from spot.policy.slack import Slack
from spot.storage.factory import open_store
from spot.storage.records import lease, manifest
from spot.storage.records.lease import Lease

pytestmark = pytest.mark.chaos

OPTIONS = Options(epochs=30, seed=0, data=None, trace=None)
STATED = timedelta(hours=12)
"""Six times what training takes: as soon as that is measured there is time for everything."""
RESERVE, ABOVE = timedelta(hours=6), timedelta(hours=5)
"""Of slack beside the margin: on-demand is asked for at once, and spot as soon as that runs."""
Cue = Callable[[Lease], bool]


@dataclass
class Killer:
    """Waits for a state of the lease, and kills who is named."""

    environment: Environment
    controls: Controls

    def until(self, cue: Cue) -> Generator[None, None, Lease]:
        store = open_store(f"{ROOT}/checkpoints")
        while True:
            found = lease.read(store, RUN)
            if found and cue(found):
                return found
            yield

    def until_there_is_a_twin(self, *, besides: str = "") -> Generator[None, None, str]:
        """Its trainer has been started; it takes a while until it asks."""
        while True:
            for attempt, job in self._jobs().items():
                standing_by = job.request.provisioning is Provisioning.SPOT and job.name in self._trainers()
                if standing_by and attempt != besides:
                    return attempt
            yield

    def signal(self, attempt: str, number: Signals) -> None:
        self._trainer(attempt).interrupt(number)

    def signal_uploader(self, attempt: str, number: Signals) -> None:
        """It looks after the lease. The trainer trains on, so that how fast it is can be measured."""
        [uploader] = psutil.Process(self._trainer(attempt).group).children()
        uploader.send_signal(number)

    def _trainer(self, attempt: str) -> TrainerProcess:
        return self._trainers()[self._jobs()[attempt].name]

    def _jobs(self) -> dict[str, EmulatedJob]:
        """By attempt, as Vertex AI knows them: a supervisor that was killed does not."""
        pages = [self.controls.jobs.list("rehearsal", region) for region in REGIONS]
        return {job.request.labels["attempt"]: job for page in pages for job in page.jobs}

    def _trainers(self) -> dict[str, TrainerProcess]:
        return self.environment.launcher.processes

    def kill_supervisor_as_it_creates_a_twin(self) -> None:
        self.controls.server.rule = each(
            LostReply(meanwhile=self.controls.kill_supervisor), where=creates_spot, count=1
        )


def creates_spot(call: Call) -> bool:
    return call.method is Method.CREATE and call.request is not None and call.request.provisioning is Provisioning.SPOT


def anybody(_: Lease) -> bool:
    return True


def asked_by(attempt: str) -> Cue:
    return lambda held: held.successor is not None and lease.attempt_of(held.successor) == attempt


def rehearse(script: Callable[[Killer], Iterator[None]], options: Options = OPTIONS) -> Result:
    """With spot everywhere, and a deadline for which the stated work asks for on-demand at once."""
    with set_up(options, print) as environment:
        run = on_demand_at_once(new_run(environment))
        result = run_rehearsal(environment, lambda _: None, lambda controls: script(Killer(environment, controls)), run)
        check_lineage()
    return result


def on_demand_at_once(run: Run) -> Run:
    run = replace(run, spec=replace(run.spec, policy=replace(run.spec.policy, work=STATED, reserve=RESERVE)))
    margin = Slack.of(run, Observation(), run.submitted_at).margin
    return replace(run, spec=replace(run.spec, deadline=run.submitted_at + STATED + margin + ABOVE))


def check_lineage() -> None:
    """What counts is one line: each writer began where the one before it had come to."""
    commits = manifest.commits(open_store(f"{ROOT}/checkpoints"), RUN)
    assert commits
    for newer, older in itertools.pairwise(commits):
        assert (newer.step, newer.token) > (older.step, older.token)
        assert newer.token == older.token or newer.from_step >= older.step


def in_time_and_the_same(result: Result) -> tuple[Attempt, ...]:
    snapshot, comparison = result.snapshot, result.comparison
    assert comparison is not None
    assert comparison.identical
    assert snapshot.seen.completed_at is not None
    assert snapshot.seen.completed_at <= snapshot.run.spec.deadline
    assert snapshot.run.attempts[0].provisioning is Provisioning.ON_DEMAND
    assert snapshot.run.attempts[1].replaces == snapshot.run.attempts[0].id
    return snapshot.run.attempts


def test_nobody_is_killed_and_spot_ends_what_on_demand_began() -> None:
    holder, standby = in_time_and_the_same(rehearse(lambda _: iter(())))
    assert (holder.outcome, standby.outcome) == (Outcome.HANDED_OVER, Outcome.SUCCEEDED)
    assert standby.from_step == holder.last_step


def test_supervisor_twin_and_holder_are_killed_before_the_lease_is_offered() -> None:
    def script(killer: Killer) -> Iterator[None]:
        killer.kill_supervisor_as_it_creates_a_twin()
        yield from killer.until(anybody)
        killer.signal_uploader("a1", SIGSTOP)  # so that it does not answer before the twin is killed
        first = yield from killer.until_there_is_a_twin()
        yield from killer.until(asked_by(first))
        killer.signal(first, SIGKILL)
        killer.signal_uploader("a1", SIGCONT)
        second = yield from killer.until_there_is_a_twin(besides=first)
        killer.signal_uploader("a1", SIGSTOP)
        yield from killer.until(asked_by(second))
        killer.signal("a1", SIGKILL)

    long_enough_for_two_twins = replace(OPTIONS, epochs=60)
    holder, first, second, *_ = in_time_and_the_same(rehearse(script, long_enough_for_two_twins))
    assert second.replaces == holder.id
    assert Outcome.HANDED_OVER not in {holder.outcome, first.outcome}
    assert second.advanced_at


def test_supervisor_and_twin_are_killed_once_the_twin_has_the_lease() -> None:
    def script(killer: Killer) -> Iterator[None]:
        first = yield from killer.until(anybody)
        held = yield from killer.until(lambda held: held.token > first.token)
        killer.controls.kill_supervisor()
        killer.signal(held.attempt, SIGKILL)

    holder, standby, *after = in_time_and_the_same(rehearse(script))
    assert holder.outcome is Outcome.HANDED_OVER
    assert standby.outcome is not Outcome.SUCCEEDED
    assert after
