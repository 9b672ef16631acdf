"""A world for one run, and the scenario that is played in it: what is asked of supervisors that are killed or race.

Vertex AI is the stand-in without processes, the trainer only writes what it would, and time is moved by hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bucket import layout, markers
from bucket.manifest import Manifest
from bucket.store import ABSENT, Store, StoreError, open_store
from rehearsal.capacity import Scripted
from rehearsal.custom_job import Job
from rehearsal.job_life import Behaviour
from rehearsal.jobs import Jobs as Vertex
from rehearsal.launcher import NoLauncher
from spot.evidence import BucketEvidence, Evidence
from spot.ledger import CLOSED, OPEN, Ledger
from spot.reconcile import Supervisor
from spot.run import Outcome, Provisioning, Run, RunState
from spot.vertex import Jobs, Unavailable
from tests.clocks import ManualClock
from tests.spot import samples
from tests.spot.direct_jobs import DirectJobs
from tests.spot.memory_store import MemoryStore
from tests.spot.watched import Around, Plan, WatchedEvidence, WatchedJobs, WatchedStore, When, undisturbed

FIRST, SECOND = REGIONS = "us-central1", "us-east4"
TICK = timedelta(minutes=15)
TOTAL_STEPS, STEPS_PER_HOUR = 150, 100
PREEMPTED_AT = 50
"""The spot attempt loses its machine as soon as training is there, and from then on there is no spot anywhere."""
MOST_PASSES = 60
USEFUL = [
    (Provisioning.SPOT, SECOND, Outcome.PREEMPTED),
    (Provisioning.ON_DEMAND, FIRST, Outcome.SUCCEEDED),
]
"""The attempts that get anywhere, whatever happens to the supervisor."""


class Killed(BaseException):
    """The process of the supervisor is gone."""


def a_run(root: str) -> Run:
    """An hour and a half of work, and four and a quarter to do it in."""
    spec = {
        "root": root,
        "regions": REGIONS,
        "work": timedelta(hours=1.5),
        "deadline": samples.after(hours=4.25),
        "worst_start": timedelta(minutes=40),
        "worst_loss": TICK,
        "tick": TICK,
    }
    return samples.run(id="20261124-000000-0000", **spec)


@dataclass(slots=True)
class World:
    """Everything outside of the supervisors, below `root`, and what must hold of it after every call."""

    root: str
    jobs: Callable[[Vertex], Jobs] = DirectJobs
    records: Callable[[str], Store] = MemoryStore
    """Opens the store that the ledger lies in."""
    plan: Plan = undisturbed
    clock: ManualClock = field(default_factory=lambda: ManualClock(samples.T0))
    capacity: Scripted = field(default_factory=lambda: Scripted({(FIRST, Provisioning.SPOT): 0}))
    launcher: NoLauncher = field(default_factory=NoLauncher)
    calls: list[str] = field(default_factory=list)
    step: int = 0
    """Of the newest checkpoint."""
    vertex: Vertex = field(init=False)
    run: Run = field(init=False)
    ledger: Ledger = field(init=False)
    _store: Store = field(init=False)
    _checkpoints: Store = field(init=False)
    _models: Store = field(init=False)
    _jobs: Jobs = field(init=False)
    _evidence: Evidence = field(default_factory=BucketEvidence)
    _starts: dict[str, int] = field(default_factory=dict)
    """Of the attempts whose trainer runs: the number of its start."""
    _ended: set[str] = field(default_factory=set)
    """The attempts whose trainer has ended."""
    _trained_until: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        behaviour = Behaviour(cancelling=timedelta(seconds=5))
        self.vertex = Vertex(self.capacity, self.launcher, self.clock, behaviour)
        self._store = self.records(self.root)
        self._checkpoints, self._models = open_store(f"{self.root}/checkpoints"), open_store(f"{self.root}/models")
        self._jobs = self.jobs(self.vertex)
        self.ledger = Ledger(self._store)
        self.run = self.ledger.create(a_run(self.root)).run

    def supervisor(self, around: Around | None = None) -> Supervisor:
        """A new one, that knows nothing of those before it."""
        around = around or self.around
        return Supervisor(
            ledger=Ledger(WatchedStore(self._store, around)),
            jobs=WatchedJobs(self._jobs, around),
            evidence=WatchedEvidence(self._evidence, around),
            clock=self.clock.now,
            sleep=lambda seconds: around("sleep", lambda: self.pass_time(timedelta(seconds=seconds))),
        )

    def around(self, what: str, effect: Callable[[], Any]) -> Any:
        """Carry out a call as the plan has it."""
        self.calls.append(what)
        lost = what == f"create {SECOND}" and self.calls.count(what) == 1
        fault = self.plan(len(self.calls), what)
        if fault and fault.when is When.BEFORE:
            raise fault.error
        result = self.carry_out(what, effect)
        if fault:
            raise fault.error
        if lost:
            raise Unavailable("the reply to the first create there is lost")
        return result

    def carry_out(self, what: str, effect: Callable[[], Any]) -> Any:
        """Do it, and look whether everything is still as it must be."""
        try:
            return effect()
        finally:
            self._check(what)

    def _check(self, what: str) -> None:
        living = [job.name for job in self.all_jobs() if not job.state.ended]
        assert len(living) <= 1, f"after {what}: {living} live at once"
        if what.startswith(("write", "delete")):
            self._check_record()

    def _check_record(self) -> None:
        names = [entry.name for entry in self._store.list("runs/")]
        assert names, "the run is lost"
        run = self.ledger.find(self.run.id).run
        assert run.state is not RunState.OPEN or not self._store.list(CLOSED), "a run that goes on is filed"
        assert [attempt.id for attempt in run.attempts] == [f"a{i + 1}" for i in range(len(run.attempts))]
        assert all(attempt.outcome for attempt in run.attempts[:-1])
        assert all(decision.reason and "\n" not in decision.reason for decision in run.decisions)

    def all_jobs(self) -> list[Job]:
        return [job for region in REGIONS for job in self.vertex.list(self.run.spec.project, region).jobs]

    @property
    def over(self) -> bool:
        """Whether the run has ended and lies where it belongs, and nowhere else."""
        return not self._store.list(OPEN) and len(self._store.list(CLOSED)) == 1

    def pass_time(self, by: timedelta) -> None:
        """Time goes by, for Vertex AI and for the trainer."""
        self.clock.advance(by)
        for job in self.all_jobs():
            if job.started_at and job.request.labels["attempt"] not in self._ended:
                self._train(job, job.request.labels["attempt"])

    def _train(self, job: Job, attempt: str) -> None:
        """Write what the trainer of this job would have written by now."""
        now = self.clock.now()
        if attempt not in self._starts:
            self._starts[attempt] = markers.claim_start(self._checkpoints, self.run.id, attempt, {})
            self._trained_until[attempt] = job.started_at
        if (code := self.launcher.processes[job.name].poll()) is not None:
            return self._end(job, attempt, code)
        trained = now - self._trained_until[attempt]
        self._commit(attempt, min(int(trained / timedelta(hours=1) * STEPS_PER_HOUR), TOTAL_STEPS - self.step))
        if self.step == TOTAL_STEPS:
            self.complete()
            return self._end(job, attempt, 0)
        if job.request.provisioning is Provisioning.SPOT and self.step >= PREEMPTED_AT:
            self.capacity.set(SECOND, Provisioning.SPOT, 0)
            self.vertex.advance()
            return self._end(job, attempt, 143)
        return None

    def _commit(self, attempt: str, steps: int) -> None:
        if not steps:
            return
        self.step += steps
        self._trained_until[attempt] = self.clock.now()
        manifest = Manifest(
            run=self.run.id,
            attempt=attempt,
            start=1,
            step=self.step,
            total_steps=TOTAL_STEPS,
            epoch=0,
            steps_per_second=STEPS_PER_HOUR / 3600,
            compute_seconds=self.step / STEPS_PER_HOUR * 3600,
            metrics={},
            score=None,
            time=self.clock.now().isoformat(),
            config={},
            data=(),
            parts=(),
        )
        self._checkpoints.write(layout.manifest(self.run.id, self.step), manifest.to_json(), if_generation=ABSENT)

    def complete(self) -> None:
        """Write the completion manifest."""
        text = json.dumps({"time": self.clock.now().isoformat()})
        self._models.write(layout.output(self.run.id, layout.COMPLETION), text.encode(), if_generation=ABSENT)

    def _end(self, job: Job, attempt: str, code: int) -> None:
        if code >= 0:  # who is killed writes nothing
            markers.write_end(self._checkpoints, self.run.id, attempt, self._starts[attempt], {"exit_code": code})
        self._ended.add(attempt)
        self.launcher.processes[job.name].end(code)


def play(world: World, *, pause: timedelta = timedelta()) -> Run:
    """Pass after pass, each by a new supervisor, until the run has ended; one that is killed is followed by another."""
    for _ in range(MOST_PASSES):
        while not passed(world):
            world.pass_time(pause)
        if world.over:
            return world.ledger.find(world.run.id).run
        world.pass_time(TICK)
    raise AssertionError(f"the run did not end in {MOST_PASSES} passes: {world.ledger.find(world.run.id).run}")


def passed(world: World) -> bool:
    """Whether a new supervisor came to the end of its pass."""
    try:
        world.supervisor().reconcile()
    except Killed:
        return False
    except StoreError:  # the open runs could not be listed
        return True
    return True


def check_end(world: World, run: Run) -> None:
    """Every such run ends like this."""
    useful = [(item.provisioning, item.region, item.outcome) for item in run.attempts if item.advanced_at]
    assert (run.state, world.step, useful) == (RunState.SUCCEEDED, TOTAL_STEPS, USEFUL)
    assert sorted(job.name for job in world.all_jobs()) == sorted(item.job for item in run.attempts if item.job)
    assert all(job.state.ended for job in world.all_jobs())
