"""The run of a rehearsal, from its submit to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from spot.core.format import hours
from spot.core.run import Machine, Observation, PolicyConfig, Run, RunState, Spec, Strategy
from spot.demo.comparison import Comparison, compare
from spot.demo.environment import LONGEST_S, PEACE, ROOT, WORK, RehearsalError, Stage
from spot.demo.scaled_status import ScaledEvidence
from spot.demo.scenario import REGIONS, Cast, Scene, story
from spot.demo.supervisor_process import KILLED, SupervisorProcess, Watch
from spot.emulators.capacity import Scripted, Trace
from spot.emulators.launcher import ContainerProcess
from spot.emulators.trainer_process import TrainerProcess
from spot.pricing import quotes
from spot.storage.factory import open_store
from spot.storage.records.ledger import Ledger

RUN = "rehearsal"
MACHINE = Machine(type="g2-standard-8", accelerator="NVIDIA_L4", accelerator_count=1, boot_disk_gb=100)
EVENTS = timedelta(hours=3, minutes=30)
"""What the story takes beside the work and the starts of trainers."""
STARTS = 4.5
"""How many of those the deadline leaves time for."""
FRAME_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """How things stand."""

    now: datetime
    run: Run
    seen: Observation
    reached: Mapping[str, int]
    """The last step that the trainer of each attempt told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The end of a rehearsal."""

    frame: Frame
    comparison: Comparison | None
    """None if the run did not succeed."""


def perform(
    stage: Stage,
    show: Callable[[Frame], None],
    script: Callable[[Cast], Iterator[None]] = story,
    run: Run | None = None,
) -> Finished:
    """Submit the run, the story's if it is not given, and bring it to its end. Raises `RehearsalError`.

    `show` is called many times a second.
    """
    performance = _Performance(stage, script, run or new_run(stage))
    frame = performance.frame()
    end = time.monotonic() + LONGEST_S
    while frame.run.state is RunState.OPEN:
        if time.monotonic() > end:
            raise RehearsalError(f"the run has not ended within {LONGEST_S:.0f} s")
        performance.advance()
        frame = performance.frame()
        show(frame)
        time.sleep(FRAME_S)
    succeeded = frame.run.state is RunState.SUCCEEDED
    return Finished(frame=frame, comparison=compare(ROOT, PEACE, RUN) if succeeded else None)


class _Performance:
    def __init__(self, stage: Stage, script: Callable[[Cast], Iterator[None]], run: Run) -> None:
        self._stage = stage
        self._ledger = Ledger(open_store(ROOT))
        self._evidence = ScaledEvidence(stage.clock, stage.scale)
        spec = run.spec
        due = f"due in {hours(spec.deadline - run.submitted_at)}, in {' or '.join(spec.policy.regions)}"
        stage.tell(f"run {run.id}: {hours(WORK)} of work, {due}")
        self._run = self._ledger.create(run).run
        self._reached: dict[str, int] = {}
        self._script = self._cast(script)
        self._supervisor = self._supervise()

    def advance(self) -> None:
        """Let happen what is due, and see to it that somebody supervises."""
        next(self._script, None)
        code = self._supervisor.exit_code
        if code == KILLED:
            self._stage.tell("another supervisor takes over, and knows only what is in the bucket")
            self._supervisor = self._supervise()
        elif code:
            raise RehearsalError("the supervisor failed:\n" + "\n".join(self._supervisor.errors[-20:]))

    def frame(self) -> Frame:
        self._run = self._ledger.find(RUN).run
        for attempt in self._run.attempts:
            process = self._processes().get(attempt.job or "")
            if process:
                self._reached[attempt.id] = max(self._reached.get(attempt.id, 0), process.seen.step)
        seen = self._evidence.observe(self._run)
        return Frame(now=self._stage.clock.now(), run=self._run, seen=seen, reached=dict(self._reached))

    def _cast(self, script: Callable[[Cast], Iterator[None]]) -> Iterator[None]:
        stage = self._stage
        if not isinstance(stage.capacity, Scripted):
            return iter(())
        return script(
            Cast(
                capacity=stage.capacity,
                jobs=stage.server.jobs,
                server=stage.server,
                running=self._running,
                active=lambda: self._run.active,
                kill_supervisor=lambda: self._supervisor.kill(),  # noqa: PLW0108  # the one of then
                tell=stage.tell,
            )
        )

    def _supervise(self) -> SupervisorProcess:
        now = self._stage.clock.now().timestamp()
        watch = Watch(run=RUN, root=ROOT, scale=self._stage.scale, real=time.time(), simulated=now)
        return SupervisorProcess(watch, self._hear, self._stage.will)

    def _hear(self, passed: Mapping[str, Any]) -> None:
        for decision in passed["actions"]:
            self._stage.tell(f"{decision['action']}: {decision['reason']}")
        if passed["problem"]:
            self._stage.tell(f"the supervisor could not go on: {passed['problem']}")

    def _running(self) -> Scene | None:
        attempt = self._run.active
        process = self._processes().get(attempt.job or "") if attempt else None
        if attempt is None or process is None or process.poll() is not None or process.seen.training_since is None:
            return None
        return Scene(
            job=str(attempt.job),
            attempt=attempt.id,
            provisioning=attempt.provisioning,
            step=process.seen.step,
            total_steps=self._stage.total_steps,
            durable_step=process.seen.durable_step,
        )

    def _processes(self) -> dict[str, TrainerProcess]:
        """By the job that they run in."""
        processes: dict[str, ContainerProcess | TrainerProcess] = {**self._stage.launcher.processes}
        return {
            job: started if isinstance(started, TrainerProcess) else started.client
            for job, started in processes.items()
        }


def new_run(stage: Stage) -> Run:
    """With as much time as the story takes."""
    now, start = stage.clock.now(), stage.start
    regions = stage.capacity.regions if isinstance(stage.capacity, Trace) else REGIONS
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
        image=stage.play.container or "trainer",
        arguments=stage.play.training,
        machine=MACHINE,
        service_account="training@rehearsal.iam.gserviceaccount.com",
        deadline=now + WORK + EVENTS + STARTS * start,
        policy=policy,
    )
    return Run(id=RUN, spec=spec, submitted_at=now)
