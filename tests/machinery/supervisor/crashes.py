"""Provide a world for one run, and the scenarios that supervisors play in it while they are killed or race.

Vertex AI is the emulator without processes, the trainer is replaced by its writes, and the clock is manual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from spot.core.errors import SpotError, TemporarilyUnavailable
from spot.core.run import Outcome, Provisioning, Run, RunState
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.custom_job import EmulatedJob
from spot.emulators.job_lifecycle import Behaviour
from spot.emulators.jobs import JobTable as Vertex
from spot.google.vertex import JobClient
from spot.storage.base import ABSENT, Store
from spot.storage.factory import open_store
from spot.storage.records import lease, markers
from spot.storage.records.ledger import CLOSED, OPEN, Ledger
from spot.supervisor.reconcile import Supervisor
from spot.supervisor.training_status import BucketStatus, TrainingStatus
from tests.machinery import samples
from tests.machinery.clocks import ManualClock
from tests.machinery.emulators.idle import IdleLauncher
from tests.machinery.storage.completed import complete
from tests.machinery.storage.memory import MemoryStore
from tests.machinery.supervisor.direct_jobs import DirectJobs
from tests.machinery.supervisor.watched import (
    Around,
    Plan,
    WatchedClock,
    WatchedEvidence,
    WatchedJobs,
    WatchedStore,
    When,
    undisturbed,
)

FIRST, SECOND = REGIONS = "us-central1", "us-east4"
TICK = timedelta(minutes=15)
STEPS_PER_HOUR = 100
MOST_PASSES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Describe the events of a run."""

    total_steps: int
    deadline_hours: float
    spot_in_second: bool
    """From the beginning; the first region has none."""
    spot_is_gone_at: int | None = None
    """As soon as a spot attempt comes to this step it loses its machine, and there is no spot anywhere from then on."""
    spot_is_back_at: int | None = None
    """As soon as on-demand comes to this step there is spot in the first region."""
    useful: Sequence[tuple[Provisioning, str, Outcome]]
    """The attempts with progress, at any fault of the supervisor."""


FALLBACK = Scene(
    total_steps=150,
    deadline_hours=4.25,
    spot_in_second=True,
    spot_is_gone_at=50,
    useful=[
        (Provisioning.SPOT, SECOND, Outcome.PREEMPTED),
        (Provisioning.ON_DEMAND, FIRST, Outcome.SUCCEEDED),
    ],
)
HAND_OVER = Scene(
    total_steps=250,
    deadline_hours=5.5,
    spot_in_second=False,
    spot_is_back_at=20,
    useful=[
        (Provisioning.ON_DEMAND, FIRST, Outcome.HANDED_OVER),
        (Provisioning.SPOT, FIRST, Outcome.SUCCEEDED),
    ],
)


class Killed(BaseException):
    """Report the death of the supervisor's process."""


def dying(number: int, when: When, calls: list[str]) -> Around:
    """Record every call, and kill the process before or after one, counted over all stores."""

    def around(what: str, effect: Callable[[], Any]) -> Any:
        calls.append(what)
        if (len(calls), when) == (number, When.BEFORE):
            raise Killed
        result = effect()
        if len(calls) == number:
            raise Killed
        return result

    return around


def a_run(root: str, scene: Scene) -> Run:
    spec = {
        "root": root,
        "regions": REGIONS,
        "work": timedelta(hours=scene.total_steps / STEPS_PER_HOUR),
        "deadline": samples.after(hours=scene.deadline_hours),
        "hand_over": scene.spot_is_back_at is not None,
        "worst_start": timedelta(minutes=40),
        "max_checkpoint_interval": TICK,
        "reconcile_interval": TICK,
    }
    return samples.run(id="20261124-000000-0000", **spec)


@dataclass(slots=True)
class World:
    """Provide all services of the supervisors, below `root`, and check the invariants after every call."""

    root: str
    scene: Scene = FALLBACK
    jobs: Callable[[Vertex], JobClient] = DirectJobs
    records: Callable[[str], Store] = MemoryStore
    """Opens the store that the ledger lies in."""
    plan: Plan = undisturbed
    clock: ManualClock = field(default_factory=lambda: ManualClock(samples.T0))
    capacity: EmulatedCapacity = field(default_factory=lambda: EmulatedCapacity({(FIRST, Provisioning.SPOT): 0}))
    launcher: IdleLauncher = field(default_factory=IdleLauncher)
    calls: list[str] = field(default_factory=list)
    step: int = 0
    """Of the newest checkpoint."""
    vertex: Vertex = field(init=False)
    run: Run = field(init=False)
    ledger: Ledger = field(init=False)
    _store: Store = field(init=False)
    _checkpoints: Store = field(init=False)
    _models: Store = field(init=False)
    _jobs: JobClient = field(init=False)
    _evidence: TrainingStatus = field(init=False)
    _starts: dict[str, int] = field(default_factory=dict)
    """Of the attempts whose trainer runs: the number of its start."""
    _ended: set[str] = field(default_factory=set)
    """The attempts whose trainer has ended."""
    _trained_until: dict[str, Any] = field(default_factory=dict)
    _from_step: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        behaviour = Behaviour(cancelling=timedelta(seconds=5))
        self.vertex = Vertex(self.capacity, self.launcher, self.clock, behaviour)
        self._store = self.records(self.root)
        self._checkpoints, self._models = open_store(f"{self.root}/checkpoints"), open_store(f"{self.root}/models")
        self._jobs = self.jobs(self.vertex)
        self._evidence = BucketStatus(self.root)
        self.ledger = Ledger(self._store)
        if not self.scene.spot_in_second:
            self.capacity.set(SECOND, Provisioning.SPOT, 0)
        self.run = self.ledger.create(a_run(self.root, self.scene)).run

    def supervisor(self, around: Around | None = None) -> Supervisor:
        """Return a new supervisor without any state."""
        around = around or self.around
        return Supervisor(
            ledger=Ledger(WatchedStore(self._store, around)),
            jobs=WatchedJobs(self._jobs, around),
            status=WatchedEvidence(self._evidence, around),
            clock=WatchedClock(self.clock, self.pass_time, around),
        )

    def around(self, what: str, effect: Callable[[], Any]) -> Any:
        """Execute a call by the plan."""
        self.calls.append(what)
        lost = what == f"create {SECOND}" and self.calls.count(what) == 1
        fault = self.plan(len(self.calls), what)
        if fault and fault.when is When.BEFORE:
            raise fault.error
        result = self.carry_out(what, effect)
        if fault:
            raise fault.error
        if lost:
            raise TemporarilyUnavailable("the reply to the first create there is lost")
        return result

    def carry_out(self, what: str, effect: Callable[[], Any]) -> Any:
        """Execute a call and check the invariants."""
        try:
            return effect()
        finally:
            self._check(what)

    def _check(self, what: str) -> None:
        living = [job for job in self.all_jobs() if not job.state.ended]
        if len(living) > 1:  # what was given up past the hard margin is fenced by the lease
            living = [job for job in living if job.request.labels["attempt"] not in self._given_up()]
        alone = [job.name for job in living if not stands_by(job)]
        assert len(alone) <= 1, f"after {what}: {alone} live at once"
        assert len(living) <= 2, f"after {what}: more than one standby in {living}"
        if what.startswith(("write", "delete")):
            self._check_record()

    def _given_up(self) -> set[str]:
        made = [decision.action.split() for decision in self.ledger.find(self.run.id).run.decisions]
        return {words[2] for words in made if words[:2] == ["give", "up"]}

    def _check_record(self) -> None:
        names = [entry.name for entry in self._store.list("runs/")]
        assert names, "the run is lost"
        run = self.ledger.find(self.run.id).run
        assert run.state is not RunState.OPEN or not self._store.list(CLOSED), "a run that goes on is filed"
        assert [attempt.id for attempt in run.attempts] == [f"a{i + 1}" for i in range(len(run.attempts))]
        assert len(run.active_attempts) < 2 or run.active_attempts[1:] == (run.standby,)
        assert run.standby is None or run.standby.replaces == run.active_attempts[0].id
        assert all(decision.reason and "\n" not in decision.reason for decision in run.decisions)

    def all_jobs(self) -> list[EmulatedJob]:
        return [job for region in REGIONS for job in self.vertex.list(self.run.spec.project, region).jobs]

    @property
    def over(self) -> bool:
        """Return whether the run has ended and is filed once, among the closed runs."""
        return not self._store.list(OPEN) and len(self._store.list(CLOSED)) == 1

    def pass_time(self, by: timedelta) -> None:
        """Advance the time of Vertex AI and of the trainer."""
        self.clock.advance(by)
        for job in self.all_jobs():
            if job.started_at and job.request.labels["attempt"] not in self._ended:
                self._train(job, job.request.labels["attempt"])

    def _train(self, job: EmulatedJob, attempt: str) -> None:
        """Write what the trainer of this job would have written by now."""
        if attempt not in self._starts:
            facts = {"time": self.clock.now().isoformat()}
            self._starts[attempt] = markers.claim_start(self._checkpoints, self.run.id, attempt, facts)
            self._trained_until[attempt], self._from_step[attempt] = job.started_at, self.step
            if not stands_by(job):
                lease.claim(self._checkpoints, self.run.id, lease.process_name(attempt, self._starts[attempt]))
        if (code := self.launcher.processes[job.name].poll()) is not None:
            return self._end(job, attempt, code)
        if stands_by(job):
            self._replace_holder(attempt)
        self._commit(attempt)
        if self.step == self.scene.total_steps:
            self.complete()
            return self._end(job, attempt, 0)
        return self._cue(job, attempt)

    def _cue(self, job: EmulatedJob, attempt: str) -> None:
        scene = self.scene
        spot = job.request.provisioning is Provisioning.SPOT
        if spot and scene.spot_is_gone_at is not None and self.step >= scene.spot_is_gone_at:
            self.capacity.set(SECOND, Provisioning.SPOT, 0)
            self.vertex.advance()
            self._end(job, attempt, 143)
        if not spot and scene.spot_is_back_at is not None and self.step >= scene.spot_is_back_at:
            self.capacity.set(FIRST, Provisioning.SPOT, 1)

    def _replace_holder(self, standby: str) -> None:
        """Let the holder save, hand the lease over to the standby, and end."""
        found = lease.look(self._checkpoints, self.run.id)
        assert found
        if (holder := found.lease.attempt) == standby:
            return
        job = next(job for job in self.all_jobs() if job.request.labels["attempt"] == holder)
        if holder not in self._ended:
            self._commit(holder)
            self._end(job, holder, 75)
        taken = found.lease.taken_by(lease.process_name(standby, self._starts[standby]))
        lease.change(self._checkpoints, self.run.id, found, taken)
        self._trained_until[standby], self._from_step[standby] = self.clock.now(), self.step

    def _commit(self, attempt: str) -> None:
        trained = self.clock.now() - self._trained_until[attempt]
        steps = min(int(trained / timedelta(hours=1) * STEPS_PER_HOUR), self.scene.total_steps - self.step)
        if not steps:
            return
        self.step += steps
        self._trained_until[attempt] = self.clock.now()
        manifest = samples.manifest(
            run=self.run.id,
            attempt=attempt,
            from_step=self._from_step[attempt],
            step=self.step,
            total_steps=self.scene.total_steps,
            steps_per_second=STEPS_PER_HOUR / 3600,
            compute_seconds=self.step / STEPS_PER_HOUR * 3600,
            time=self.clock.now(),
        )
        self._checkpoints.write(manifest.name, manifest.to_json(), if_generation=ABSENT)

    def complete(self) -> None:
        """Write the completion manifest."""
        complete(self._models, self.run.id, self.clock.now())

    def _end(self, job: EmulatedJob, attempt: str, code: int) -> None:
        if code >= 0:  # a killed trainer writes nothing
            facts = {"time": self.clock.now().isoformat(), "exit_code": code}
            markers.write_end(self._checkpoints, self.run.id, attempt, self._starts[attempt], facts)
        self._ended.add(attempt)
        self.launcher.processes[job.name].end(code)


def stands_by(job: EmulatedJob) -> bool:
    """Return whether the job was started as a standby."""
    return "--standby" in job.request.spec["workerPoolSpecs"][0]["containerSpec"]["args"]


def play(world: World, *, pause: timedelta = timedelta()) -> Run:
    """Reconcile until the run has ended, each time with a new supervisor, also after a kill."""
    for _ in range(MOST_PASSES):
        while not passed(world):
            world.pass_time(pause)
        if world.over:
            return world.ledger.find(world.run.id).run
        world.pass_time(TICK)
    raise AssertionError(f"the run did not end in {MOST_PASSES} passes: {world.ledger.find(world.run.id).run}")


def passed(world: World) -> bool:
    """Return whether a new supervisor completed its reconcile."""
    try:
        world.supervisor().reconcile()
    except Killed:
        return False
    except SpotError:  # the open runs could not be listed
        return True
    return True


def check_end(world: World, run: Run) -> None:
    """Assert the expected end of the run."""
    useful = [(item.provisioning, item.region, item.outcome) for item in run.attempts if item.advanced_at]
    assert (run.state, world.step, useful) == (RunState.SUCCEEDED, world.scene.total_steps, world.scene.useful)
    assert sorted(job.name for job in world.all_jobs()) == sorted(item.job for item in run.attempts if item.job)
    assert all(job.state.ended for job in world.all_jobs())
