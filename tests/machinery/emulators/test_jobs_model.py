"""Test that any sequence of calls moves jobs only between states of Vertex AI."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from spot.core.job import JobState
from spot.core.run import Provisioning
from spot.emulators.custom_job import EmulatedJob
from spot.emulators.jobs import WrongState
from tests.machinery.emulators.world import BEHAVIOUR, PROJECT, REGION, World

S = JobState
# Between two looks a job can take several steps, so these are the states that can come some time after each.
AFTER = {
    S.QUEUED: {S.PENDING, S.RUNNING, S.SUCCEEDED, S.FAILED, S.CANCELLING, S.CANCELLED, S.EXPIRED},
    S.PENDING: {S.RUNNING, S.SUCCEEDED, S.FAILED, S.CANCELLING, S.CANCELLED, S.EXPIRED},
    S.RUNNING: {S.SUCCEEDED, S.FAILED, S.CANCELLING, S.CANCELLED},
    S.CANCELLING: {S.CANCELLED},
}
SCHEDULING = strategies.fixed_dictionaries(
    {},
    optional={
        "timeout": strategies.sampled_from(["600s", "7200s"]),
        "maxWaitDuration": strategies.sampled_from(["0s", "600s"]),
    },
)


class JobMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.names: list[str] = []
        self.seen: dict[str, EmulatedJob] = {}

    def pick(self, number: int) -> str:
        return self.names[number % len(self.names)]

    @rule(provisioning=strategies.sampled_from(Provisioning), scheduling=SCHEDULING, machines=strategies.integers(1, 3))
    def create(self, provisioning: Provisioning, scheduling: dict[str, str], machines: int) -> None:
        self.names.append(self.world.create(provisioning, scheduling=scheduling, machines=machines))

    @rule(seconds=strategies.sampled_from([0, 1, 20, 60, 300, 3600, 100_000]))
    def advance_time(self, seconds: float) -> None:
        self.world.advance(seconds=seconds)

    @rule(provisioning=strategies.sampled_from(Provisioning), count=strategies.integers(0, 3))
    def capacity_changes(self, provisioning: Provisioning, count: int) -> None:
        self.world.capacity.set(REGION, provisioning, count)

    @rule(code=strategies.sampled_from([143, 0, None]))
    def later_starts_take_sigterm_otherwise(self, code: int | None) -> None:
        self.world.launcher.on_sigterm = code

    @precondition(lambda self: self.names)
    @rule(
        number=strategies.integers(0),
        what=strategies.sampled_from(["cancel", "save", "kill", "exit"]),
        code=strategies.sampled_from([0, 1, 143, -9]),
        replica=strategies.sampled_from([None, 0, -1]),
    )
    def something_happens(self, number: int, what: str, code: int, replica: int | None) -> None:
        name, jobs = self.pick(number), self.world.jobs
        with contextlib.suppress(WrongState):
            match what:
                case "cancel":
                    jobs.cancel(name)
                case "save" | "kill":
                    jobs.preempt(name, save=what == "save", replica=replica)
                case "exit":
                    for process in self.world.launcher.replicas.get(name, [])[slice(replica)]:
                        process.end(code)

    @invariant()
    def every_job_moves_as_it_may(self) -> None:
        for name in self.names:
            job = self.world.get(name)
            self.check(self.seen.get(name, job), job)
            self.seen[name] = job
        listed = self.world.jobs.list(PROJECT, REGION).jobs
        assert listed == tuple(self.seen[name] for name in reversed(self.names))
        for name, replicas in self.world.launcher.replicas.items():
            state, codes = self.seen[name].state, [process.poll() for process in replicas]
            assert state in {S.RUNNING, S.CANCELLING} if None in codes else state is not S.RUNNING

    def check(self, before: EmulatedJob, after: EmulatedJob) -> None:
        if before.state is not after.state:
            assert after.state in AFTER.get(before.state, set())
        if before.state.ended:
            late = replace(before, error=after.error)
            assert after == late
            assert before.error in {None, after.error}
        assert before.started_at in {None, after.started_at}
        assert (after.ended_at is not None) is after.state.ended
        times = [after.created_at, after.started_at, after.ended_at, self.world.clock.now()]
        known = [time for time in times if time is not None]
        assert known == sorted(known)
        if after.error:
            assert after.state in {S.FAILED, S.CANCELLED}
            assert after.ended_at is not None
            assert self.world.clock.now() - after.ended_at >= BEHAVIOUR.error_delay


JobMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestJobMachine = JobMachine.TestCase
