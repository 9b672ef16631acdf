"""Submit the run of a rehearsal and take it to its end."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.core.format import hours
from spot.core.run import Machine, Observation, PolicyConfig, Run, RunState, Spec, Strategy
from spot.demo.comparison import Comparison, compare
from spot.demo.environment import BASELINE, LONGEST_S, ROOT, WORK, Environment, RehearsalError
from spot.demo.scaled_status import ScaledStatus
from spot.demo.scenario import REGIONS, AttemptView, Controls, scenario
from spot.demo.supervisor_process import KILLED, SupervisorOptions, SupervisorProcess
from spot.emulators.capacity import ScriptedCapacity, TraceCapacity
from spot.pricing import quotes
from spot.storage.factory import open_store
from spot.storage.records.ledger import Ledger

RUN = "rehearsal"
MACHINE = Machine(type="g2-standard-8", accelerator="NVIDIA_L4", accelerator_count=1, boot_disk_gb=100)
EVENTS = timedelta(hours=3, minutes=30)
"""The simulated time that the scenario takes in addition to the training and the starts of trainers."""
STARTS = 4.5
"""The starts of trainers that fit into the deadline."""
REFRESH_S = 0.05

Script = Callable[[Controls], Iterator[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Hold the state of the run at a moment."""

    now: datetime
    run: Run
    seen: Observation
    reached: Mapping[str, int]
    """The last step that the trainer of each attempt logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Hold the end of a rehearsal."""

    snapshot: Snapshot
    comparison: Comparison | None
    """None if the run did not succeed."""

    @property
    def succeeded(self) -> bool:
        """Return whether the run met its deadline with the model of the baseline."""
        at = self.snapshot.seen.completed_at
        in_time = at is not None and at <= self.snapshot.run.spec.deadline
        return in_time and self.comparison is not None and self.comparison.identical


def run_rehearsal(
    environment: Environment, show: Callable[[Snapshot], None], script: Script = scenario, run: Run | None = None
) -> Result:
    """Submit the run, by default that of the scenario, and reconcile it to its end. Raise `RehearsalError`.

    `show` is called many times a second.
    """
    runner = _Runner(environment, script, run or new_run(environment))
    snapshot = runner.snapshot()
    end = time.monotonic() + LONGEST_S
    while snapshot.run.state is RunState.OPEN:
        if time.monotonic() > end:
            raise RehearsalError(f"run {snapshot.run.id} is still open after {LONGEST_S:.0f} s: a process hangs")
        runner.advance()
        snapshot = runner.snapshot()
        show(snapshot)
        time.sleep(REFRESH_S)
    succeeded = snapshot.run.state is RunState.SUCCEEDED
    return Result(snapshot=snapshot, comparison=compare(ROOT, BASELINE, RUN) if succeeded else None)


class _Runner:
    def __init__(self, environment: Environment, script: Script, run: Run) -> None:
        self._environment = environment
        self._ledger = Ledger(open_store(ROOT))
        self._status = ScaledStatus(environment.clock, environment.scale)
        spec = run.spec
        due = f"due in {hours(spec.deadline - run.submitted_at)}, in {' or '.join(spec.policy.regions)}"
        environment.log(f"run {run.id}: {hours(WORK)} of training, {due}")
        self._run = self._ledger.create(run).run
        self._durable_step = 0
        self._reached: dict[str, int] = {}
        self._script = self._start(script)
        self._supervisor = self._supervise()

    def advance(self) -> None:
        """Inject what is due, and replace a supervisor that was killed."""
        next(self._script, None)
        code = self._supervisor.process.poll()
        if code == KILLED:
            self._environment.log("new supervisor started: it reads the state of the run from the bucket")
            self._supervisor = self._supervise()
        elif code:
            errors = self._supervisor.errors[-20:]
            raise RehearsalError("\n".join([f"the supervisor exited with {code}; its last lines:", *errors]))

    def snapshot(self) -> Snapshot:
        self._run = self._ledger.find(RUN).run
        for attempt in self._run.attempts:
            process = self._environment.launcher.processes.get(attempt.job or "")
            if process:
                self._reached[attempt.id] = max(self._reached.get(attempt.id, 0), process.step)
        seen = self._status.observe(self._run)
        self._durable_step = seen.progress.step if seen.progress else 0
        return Snapshot(now=self._environment.clock.now(), run=self._run, seen=seen, reached=dict(self._reached))

    def _start(self, script: Script) -> Iterator[None]:
        environment = self._environment
        if not isinstance(environment.capacity, ScriptedCapacity):
            return iter(())
        return script(
            Controls(
                capacity=environment.capacity,
                jobs=environment.server.jobs,
                server=environment.server,
                training=self._training,
                active=lambda: self._run.active,
                kill_supervisor=lambda: self._supervisor.kill(),  # noqa: PLW0108  # the supervisor at that time
                log=environment.log,
            )
        )

    def _supervise(self) -> SupervisorProcess:
        environment = self._environment
        offset = environment.clock.now().timestamp() - environment.scale * time.time()
        options = SupervisorOptions(run=RUN, root=ROOT, scale=environment.scale, offset=offset)
        return SupervisorProcess(options, environment.log, environment.reaper)

    def _training(self) -> AttemptView | None:
        attempt = self._run.active
        process = self._environment.launcher.processes.get(attempt.job or "") if attempt else None
        if attempt is None or process is None or process.poll() is not None or not process.step:
            return None
        return AttemptView(
            job=str(attempt.job),
            attempt=attempt.id,
            provisioning=attempt.provisioning,
            step=process.step,
            total_steps=self._environment.total_steps,
            durable_step=self._durable_step,
        )


def new_run(environment: Environment) -> Run:
    """Return a run with a deadline that leaves time for the scenario."""
    now, start = environment.clock.now(), environment.start
    regions = environment.capacity.regions if isinstance(environment.capacity, TraceCapacity) else REGIONS
    policy = PolicyConfig(
        strategy=Strategy.HYBRID,
        regions=regions,
        hand_over=True,
        flex_start=False,
        work=WORK,
        provisioning_timeout=timedelta(minutes=20),
        expected_start=start,
        worst_start=1.5 * start + timedelta(minutes=10),
        reconcile_interval=timedelta(minutes=12),
        max_checkpoint_interval=timedelta(minutes=10),
        reserve=timedelta(minutes=60),
        max_preemptions=None,
        max_errors=0,
        disable_retries=True,
        budget_usd=None,
        usd_per_hour=quotes.by_region(MACHINE, regions),
    )
    spec = Spec(
        project="rehearsal",
        root=ROOT,
        image="trainer",
        arguments=environment.options.training,
        machine=MACHINE,
        service_account="training@rehearsal.iam.gserviceaccount.com",
        deadline=now + WORK + EVENTS + STARTS * start,
        policy=policy,
    )
    return Run(id=RUN, spec=spec, submitted_at=now)
