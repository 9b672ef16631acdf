"""Submit the run of a rehearsal, take it to its end, and compare its results with those of the baseline."""

import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from spot.accounting.cost import Account, account
from spot.config.load import parse
from spot.core.format import hours
from spot.core.run import Provisioning, Run, RunState
from spot.demo.director import Participant, RehearsalError
from spot.demo.environment import BASELINE, BUCKET, REGIONS, ROOT, WORK, Environment, settings_text
from spot.emulators.machines import EmulatedMachine
from spot.storage import paths
from spot.storage.base import NotFound, Store
from spot.storage.factory import open_store
from spot.storage.records import champion, completion
from spot.storage.records.ledger import Ledger
from spot.storage.records.manifest import Json
from spot.supervisor.submit import run_of
from spot.supervisor.training_status import BucketStatus

RUN = "20260105-060000-rehearsal"
TICK_S = 5.0
"""The longest virtual time between two looks at jobs and scenario."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Hold what is identical in two runs, and the first metric of the interrupted run."""

    metric: str | None
    value: float | None
    """On the held-out data."""
    steps: int
    same_weights: bool
    same_metrics: bool
    same_order: bool

    @property
    def identical(self) -> bool:
        return self.same_weights and self.same_metrics and self.same_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Hold the end of a rehearsal."""

    account: Account
    reached: Mapping[str, int]
    """The last step of each attempt that trained."""
    comparison: Comparison | None
    """None if the run did not succeed."""

    @property
    def run(self) -> Run:
        return self.account.run

    @property
    def succeeded(self) -> bool:
        """Return whether the run met its deadline with the model of the baseline."""
        spare = self.account.to_spare
        in_time = spare is not None and spare >= timedelta()
        return in_time and self.comparison is not None and self.comparison.identical


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    at: datetime
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingView:
    """Show a scenario the attempt that trains."""

    job: str
    attempt: str
    provisioning: Provisioning
    step: int
    total_steps: int
    durable_step: int


Watch = Callable[[Event], None]
"""Receives what happens in a rehearsal."""
Script = Callable[["Rehearsal"], Iterator[None]]
"""Injects faults into a rehearsal; resumed at each moment until the run ends."""


def run_rehearsal(environment: Environment, watch: Watch, script: Script, run: Run | None = None) -> Result:
    """Submit the run and reconcile it to its end. Raise `RehearsalError`."""
    rehearsal = Rehearsal(environment, watch, script, run or new_run(environment))
    run = rehearsal.play()
    succeeded = run.state is RunState.SUCCEEDED
    if succeeded:
        environment.wait_for_baseline()
    return Result(
        account=account(run, BucketStatus(ROOT).observe(run), environment.director.now()),
        reached=rehearsal.reached,
        comparison=compare(ROOT, BASELINE, run.id) if succeeded else None,
    )


class Rehearsal:
    """Submit a run, and take it to its end. A script reads and changes it meanwhile."""

    def __init__(self, environment: Environment, watch: Watch, script: Script, run: Run) -> None:
        environment.launcher.trainers.clear()
        self.reached: dict[str, int] = {}
        self.capacity, self.server, self.jobs = environment.capacity, environment.server, environment.server.jobs
        self._environment, self._watch, self._director = environment, watch, environment.director
        self._ledger = Ledger(open_store(ROOT))
        self._run = self._ledger.create(run).run
        due = hours(run.spec.deadline - run.submitted_at)
        self.log(f"submitted: {hours(WORK)} of training, due in {due}; time is virtual")
        self._running: dict[str, Participant] = {}
        self._script = script(self)
        next(self._script, None)
        self._supervisor = environment.start_supervisor(run.id)
        self._reconciled, self._killed = -1, ""

    def play(self) -> Run:
        """Let time pass until the run has ended, and return its record."""
        self._settle()
        while self._run.state is RunState.OPEN:
            now = self._director.monotonic()
            self._director.step(now - now % TICK_S + TICK_S)
            self._settle()
        return self._run

    def _settle(self) -> None:
        """Carry out all that is due at this moment."""
        self._director.settle()
        self._follow_supervisor()
        self.jobs.advance()
        self._director.settle()
        self.jobs.advance()
        self._follow_trainers()
        next(self._script, None)
        self._director.settle()
        self.jobs.advance()

    def _follow_supervisor(self) -> None:
        supervisor = self._supervisor
        if supervisor.exit_code is None and supervisor.request == self._reconciled:
            return
        self._reconciled = supervisor.request
        before, self._run = self._run, self._ledger.find(self._run.id).run
        for decision in self._run.decisions[len(before.decisions) :]:
            self._watch(Event(at=decision.at, text=f"supervisor: {decision.action}", detail=decision.reason))
        if supervisor.exit_code == -signal.SIGKILL:
            self.log(f"the supervisor is killed {self._killed}; a new one reads the bucket")
            self._supervisor, self._reconciled = self._environment.start_supervisor(self._run.id), -1
            self._director.settle()
        elif supervisor.exit_code:
            said = f"the supervisor exited with {supervisor.exit_code}; its last lines:"
            raise RehearsalError("\n".join([said, *supervisor.last_lines()]))

    def _follow_trainers(self) -> None:
        for attempt, trainer in self._environment.launcher.trainers.items():
            if step := trainer.status.get("step", 0):
                if self._running.get(attempt) is not trainer:
                    [replaced] = [one.replaces for one in self._run.attempts if one.id == attempt]
                    self.log(f"{attempt} {f'replaces {replaced} and ' if replaced else ''}trains from step {step - 1}")
                    self._running[attempt] = trainer
                self.reached[attempt] = max(self.reached.get(attempt, 0), step)

    def now(self) -> datetime:
        return self._director.now()

    def log(self, text: str) -> None:
        self._watch(Event(at=self.now(), text=text))

    def machines(self, job: str) -> Sequence[EmulatedMachine]:
        """Return the machines of a job with several ranks."""
        return self._environment.launcher.machines.get(job, ())

    def kill_supervisor(self, when: str) -> None:
        self._killed = when
        self._supervisor.kill()

    def training(self) -> TrainingView | None:
        """Return the active attempt once its trainer trains."""
        attempt = self._run.active
        trainer = self._environment.launcher.trainers.get(attempt.id) if attempt else None
        if attempt is None or trainer is None or trainer.exit_code is not None or "step" not in trainer.status:
            return None
        return TrainingView(
            job=str(attempt.job),
            attempt=attempt.id,
            provisioning=attempt.provisioning,
            step=trainer.status["step"],
            total_steps=trainer.status["total"],
            durable_step=trainer.status.get("durable", attempt.from_step),
        )


def new_run(environment: Environment, run_id: str = RUN, *flags: str) -> Run:
    """Return a run with a deadline that leaves time for the scenario, compared with the model in use."""
    now, options = environment.director.now(), environment.options
    regions = options.trace.regions if options.trace else REGIONS
    settings = parse(settings_text(regions, BUCKET, options.machines), "the rehearsal")
    image, arguments = f"localhost/trainer@sha256:{'0' * 64}", (*options.flags, *flags)
    run = run_of(settings, run_id, now, image=image, arguments=arguments).with_policy(work_is_measured=True)
    used = champion.read(open_store(ROOT))[0].now
    return replace(run, spec=replace(run.spec, champion=used.pin if used else None))


def compare(root: str, baseline: str, interrupted: str) -> Comparison:
    """Compare two complete runs below `root`, files by size and checksum; raise `NotFound` if one is not complete."""
    models = open_store(f"{root}/models")
    (expected_files, expected), (files, found) = (_results(models, run) for run in (baseline, interrupted))
    return Comparison(
        metric=found["metric"],
        value=found["shipped"].get(found["metric"]),
        steps=found["steps"],
        same_weights=files == expected_files,
        same_metrics=found["history"] == expected["history"],
        same_order=found["samples_digest"] == expected["samples_digest"],
    )


def _results(models: Store, run: str) -> tuple[dict[str, tuple[int, int]], dict[str, Json]]:
    found = completion.read(models, run)
    if found is None:
        raise NotFound(f"run {run} is not complete: {models.uri} has no {paths.output(run, paths.COMPLETION)}")
    metrics = json.loads(models.read(paths.output(run, paths.METRICS)).data)
    return {name: (one.size, one.crc32c) for name, one in found.model.items()}, metrics
