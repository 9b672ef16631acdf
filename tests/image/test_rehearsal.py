"""Retrain in containers of the image, in real time: preempted twice, and supervised to the end."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import Signals

import pytest

from spot.core.clock import SystemClock
from spot.core.run import Outcome, Run, RunState
from spot.demo.runner import compare
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.job_lifecycle import Behaviour, Spec, arguments
from spot.emulators.jobs import JobTable
from spot.emulators.vertex_server import VertexServer
from spot.google.vertex import ENDPOINT, VertexJobs
from spot.storage.factory import open_store
from spot.storage.records import manifest
from spot.storage.records.ledger import Ledger
from spot.supervisor.reconcile import Supervisor
from spot.supervisor.training_status import BucketStatus
from tests.image.engine import Engine
from tests.machinery import samples

pytestmark = pytest.mark.image
BASELINE = "baseline"
FLAGS = ("--epochs", "120", "--checkpoint-interval", "0.5", "--device", "cpu")
SOON = Behaviour(queued=timedelta(), pending=timedelta(), error_delay=timedelta(), cancelling=timedelta(), grace_s=60.0)
PATIENCE_S, EVERY_S = 600.0, 0.5


@dataclass(frozen=True, slots=True)
class ContainerProcess:
    """Run a container through the command of the engine, which ends with its exit code."""

    engine: Engine
    name: str
    command: subprocess.Popen[bytes]

    def poll(self) -> int | None:
        return self.command.poll()

    def interrupt(self, number: Signals) -> None:
        self.engine.command("podman", "kill", "--signal", number.name.removeprefix("SIG"), self.name, check=False)


@dataclass(slots=True)
class ContainerLauncher:
    """Start containers of one image, whatever image the jobs name; leaving the context removes them."""

    engine: Engine
    image: str
    environ: Mapping[str, str]
    logs: Path
    processes: list[ContainerProcess] = field(default_factory=list)

    def start(self, spec: Spec, job_name: str) -> list[ContainerProcess]:  # noqa: ARG002  # a Launcher
        name = f"rehearsal-{os.getpid()}-{len(self.processes)}"
        options = [word for variable, value in self.environ.items() for word in ("--env", f"{variable}={value}")]
        with (self.logs / name).open("wb") as log:
            command = subprocess.Popen(
                ["podman", "run", "--rm", "--network", "host", "--name", name, *options, self.image, *arguments(spec)],
                env={**os.environ, **self.engine.settings},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        process = ContainerProcess(self.engine, name, command)
        self.processes.append(process)
        return [process]

    def close(self) -> None:
        for process in self.processes:
            self.engine.command("podman", "rm", "--force", "--ignore", "--time", "0", process.name)
            process.command.wait()

    def said(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.logs.iterdir()))


@pytest.fixture
def launcher(engine: Engine, image: str, emulator_url: str, tmp_path: Path) -> Iterator[ContainerLauncher]:
    environ = {"STORAGE_EMULATOR_HOST": emulator_url, "NO_GCE_CHECK": "true", "OMP_NUM_THREADS": "1"}
    launcher = ContainerLauncher(engine, image, environ, tmp_path)
    yield launcher
    launcher.close()


def preemptions(jobs: JobTable, run_id: str, ledger: Ledger) -> Iterator[None]:
    """Preempt the first attempt with a warning and the second without, each once it has saved."""
    checkpoints = open_store(f"{ledger.uri}/checkpoints")
    for save in (True, False):
        while True:
            yield
            newest, active = manifest.newest(checkpoints, run_id), ledger.find(run_id).run.active
            if newest and active and active.job and newest.attempt == active.id:
                break
        jobs.preempt(active.job, save=save)


def test_a_run_in_the_image_survives_preemptions_with_the_same_model(
    launcher: ContainerLauncher, gs_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, now = Ledger(open_store(gs_uri)), datetime.now(UTC)
    run = samples.run(
        id=f"{now:%Y%m%d}-containers",
        submitted_at=now,
        root=gs_uri,
        arguments=FLAGS,
        deadline=now + timedelta(hours=24),
        work=timedelta(hours=1),
    )
    ledger.create(run)
    baseline = ("--run", BASELINE, "--output-dir", f"{gs_uri}/models", "--enable-checkpointing", "false")
    with launcher.engine.start(launcher.image, *FLAGS, *baseline, environ=launcher.environ) as undisturbed:
        ended = follow(launcher, ledger, run, monkeypatch)
        assert undisturbed.wait() == 0, undisturbed.said()

    assert ended.state is RunState.SUCCEEDED, launcher.said()
    first, second, *others = ended.attempts
    assert (first.outcome, second.outcome) == (Outcome.PREEMPTED, Outcome.PREEMPTED), ended.attempts
    assert [one.outcome for one in others] == [Outcome.SUCCEEDED]
    assert first.last_step == second.from_step
    assert "durable, exiting" in launcher.said()
    assert compare(gs_uri, BASELINE, run.id).identical, launcher.said()


def follow(launcher: ContainerLauncher, ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Reconcile the run until it ends, and return it."""
    jobs = JobTable(EmulatedCapacity(), launcher, SystemClock(), SOON)
    script, end = preemptions(jobs, run.id, ledger), time.monotonic() + PATIENCE_S
    with VertexServer(jobs) as server:
        monkeypatch.setenv(ENDPOINT, server.url)
        supervisor = Supervisor(ledger=ledger, jobs=VertexJobs(), status=BucketStatus(ledger.uri), clock=SystemClock())
        for _ in itertools.takewhile(lambda _: time.monotonic() < end, itertools.count()):
            result = supervisor.reconcile_run(run.id)
            if result.run and result.run.state is not RunState.OPEN:
                return result.run
            jobs.advance()
            next(script, None)
            time.sleep(EVERY_S)  # the containers need the cores
    raise TimeoutError(f"open after {PATIENCE_S:.0f} s:\n{launcher.said()}")
