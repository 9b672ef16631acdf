"""Start storage, Vertex AI and the director of time on this machine, and stop them afterwards."""

import json
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

from spot.config.settings import GateSettings
from spot.demo import participants, rank
from spot.demo.director import Director, Participant, RehearsalError
from spot.demo.participants import RECONCILE_INTERVAL
from spot.demo.rank import LOADING
from spot.demo.virtual_clock import EPOCH
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.custom_job import replicas_of
from spot.emulators.job_lifecycle import Behaviour, Process, Spec, arguments
from spot.emulators.jobs import JobTable
from spot.emulators.machines import EmulatedMachine, Gang, Network
from spot.emulators.storage_server import emulator
from spot.emulators.vertex_server import VertexServer
from spot.simulation.traces import Trace

REGIONS = ("us-east4", "us-central1")
"""The cheaper one first."""
BUCKET = "rehearsal"
PREFIX = "project"
ROOT = f"gs://{BUCKET}/{PREFIX}"
BASELINE = "baseline"
WORK = timedelta(hours=7)
"""The training time without interruption, in virtual time."""
CHECKPOINT_INTERVAL = timedelta(minutes=10)
PROVISIONING = timedelta(minutes=5)
GRACE = timedelta(seconds=30)
GRACE_OF_RANKS = timedelta(minutes=15)
"""Ranks agree on a stop within a few steps, which are longer than those of a real training."""
BASELINE_S = 1800.0
"""The longest wait for the baseline after the run has ended, in real seconds."""
DEADLINE = timedelta(hours=11, minutes=30)
START = PROVISIONING + LOADING + timedelta(minutes=2)
"""From a submit to the first new step."""
MINUTE = timedelta(minutes=1)
SETTINGS = f"""\
name = "rehearsal"

[cloud]
project = "rehearsal"
regions = {{regions}}
bucket = {{bucket}}
prefix = "{PREFIX}"

[machine]
type = "g2-standard-8"
accelerator = "NVIDIA_L4"
count = {{machines}}

[policy]
deadline_hours = {DEADLINE / timedelta(hours=1)}
work_hours = {WORK / timedelta(hours=1)}
provisioning_timeout_minutes = 20
expected_start_minutes = {START / MINUTE}
worst_start_minutes = {(2 * START) / MINUTE + 10}
reconcile_interval_minutes = {RECONCILE_INTERVAL / MINUTE + 2}
max_checkpoint_interval_minutes = {CHECKPOINT_INTERVAL / MINUTE}
reserve_minutes = 45
"""
ENVIRONMENT = {
    "NO_GCE_CHECK": "true",  # otherwise google-auth queries the metadata address
    "OMP_NUM_THREADS": "1",  # PyTorch's threads busy-wait on the cores that all processes here share
    "PYTHONWARNINGS": "ignore",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    training: tuple[str, ...]
    """Flags of the trainer."""
    trace: Trace | None = None
    """Measured capacity instead of a scenario."""
    task: str = "task"
    """The package of the task, as `python -m` takes it."""
    machines: int = 1
    ranks: int = 1
    """On each machine."""
    gate: GateSettings | None = None
    """Decides about each model; None decides about none."""

    @property
    def flags(self) -> tuple[str, ...]:
        return (
            *self.training,
            *("--checkpoint-interval", f"{CHECKPOINT_INTERVAL.total_seconds():.0f}"),
            *("--enable-checkpointing", "true", "--log-interval", "600", "--device", "cpu"),
            *("--grace", "3600"),  # the guard of the grace runs in real time: here Vertex AI ends it
            *(("--ranks", str(self.ranks)) if self.ranks > 1 else ()),
        )

    @property
    def world(self) -> int:
        return self.machines * self.ranks


@dataclass(slots=True)
class TrainerLauncher:
    """Start the containers of jobs as participants of the rehearsal."""

    director: Director
    options: Options
    environ: Mapping[str, str]
    network: Network
    trainers: dict[str, Participant] = field(default_factory=dict)
    """The newest of each attempt."""
    machines: dict[str, Sequence[EmulatedMachine]] = field(default_factory=dict)
    """Those of each job with several ranks."""

    def start(self, spec: Spec, job_name: str) -> Sequence[Process]:
        given = arguments(spec)
        attempt = given[given.index("--attempt") + 1]
        if self.options.world == 1:
            trainer = self.director.start(attempt, participants.train, given, self.environ, self.options.task, WORK)
        else:
            gang = Gang([self.network.machine() for _ in replicas_of(spec)])

            def start(end: socket.socket, log: Path) -> Gang:
                paced = (rank.__name__, str(end.fileno()), str(WORK.total_seconds()), self.options.task, *given)
                gang.start(spec, paced, self.environ, log, end.fileno())
                return gang

            trainer, self.machines[job_name] = self.director.enlist(attempt, start), gang.machines
        self.trainers[attempt] = trainer
        return [trainer, *self.machines.get(job_name, ())[1:]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Hold what exists before the run is submitted."""

    options: Options
    director: Director
    capacity: EmulatedCapacity
    launcher: TrainerLauncher
    server: VertexServer
    baseline: Gang
    logs: Path

    def start_supervisor(self, run: str) -> Participant:
        given = (dict(os.environ), run, ROOT, self.options.gate)
        return self.director.start("supervisor", participants.supervise, *given)

    def wait_for_baseline(self) -> None:
        """Raise `RehearsalError` if the uninterrupted training fails."""
        self.baseline.join(BASELINE_S)
        if self.baseline.exitcode != 0:
            code = self.baseline.exitcode
            ended = f"exited with {code}" if code is not None else f"still runs after {BASELINE_S:.0f} s"
            lines = _baseline_log(self.logs).read_text(errors="replace").splitlines()[-20:]
            raise RehearsalError("\n".join([f"the uninterrupted training {ended}; its last lines:", *lines]))


def settings_text(regions: Sequence[str], bucket: str, machines: int) -> str:
    return SETTINGS.format(
        regions=json.dumps(regions), bucket=json.dumps(bucket, ensure_ascii=False), machines=machines
    )


@contextmanager
def set_up(options: Options) -> Iterator[Environment]:
    """Start the emulators and the baseline training."""
    capacity = EmulatedCapacity(measured=(options.trace, EPOCH) if options.trace else None)
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-")))
        network = stack.enter_context(Network(namespaces=options.machines > 1))
        storage = stack.enter_context(emulator(BUCKET, network.address))
        stack.enter_context(patch.dict(os.environ, ENVIRONMENT, STORAGE_EMULATOR_HOST=storage))
        director = Director(logs)
        stack.callback(director.close)
        launcher = TrainerLauncher(director, options, dict(os.environ), network)
        jobs = JobTable(
            capacity,
            launcher,
            director,
            Behaviour(pending=PROVISIONING, grace_s=(GRACE if options.world == 1 else GRACE_OF_RANKS).total_seconds()),
            monotonic=director.monotonic,
        )
        server = stack.enter_context(VertexServer(jobs))
        stack.enter_context(patch.dict(os.environ, VERTEX_ENDPOINT=server.url))
        baseline = _start_baseline(options, _baseline_log(logs), network)
        yield Environment(
            options=options,
            director=director,
            capacity=capacity,
            launcher=launcher,
            server=server,
            baseline=baseline,
            logs=logs,
        )


def _baseline_log(logs: Path) -> Path:
    return logs / f"{BASELINE}.log"


def _start_baseline(options: Options, log: Path, network: Network) -> Gang:
    where = ("--run", BASELINE, "--output-dir", f"{ROOT}/models", "--enable-checkpointing", "false")
    gang = Gang([network.machine() for _ in range(options.machines)])
    pools = [{"replicaCount": count} for count in (1, options.machines - 1)]
    gang.start({"workerPoolSpecs": pools}, (options.task, *options.flags, *where), os.environ, log)
    return gang
