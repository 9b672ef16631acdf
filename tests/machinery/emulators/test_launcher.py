"""What runs in a job gets what Vertex AI would give it, and the signals that it would get."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from spot.core.job import JobState
from spot.emulators.capacity import ScriptedCapacity
from spot.emulators.job_lifecycle import Behaviour
from spot.emulators.jobs import JobTable
from spot.emulators.launcher import Launcher, TrainerLauncher, variables
from spot.emulators.reaper import Reaper
from spot.emulators.vertex_server import VertexServer
from tests.machinery.clocks import ManualClock
from tests.machinery.emulators.world import BEHAVIOUR, PROJECT, REGION, custom_job

PATIENCE_S = 60.0
JOB = "projects/1/locations/us-central1/customJobs/1000000000000000001"
# Says what it was given, then ends as its first argument wants: by itself, on SIGTERM, or not even then.
CONTAINER = """
import os, signal, sys
kind = sys.argv[1]
def leave(number, frame):
    print("saved", flush=True)
    os._exit(143)
signal.signal(signal.SIGTERM, signal.SIG_IGN if kind == "deaf" else leave)
print(sys.argv[1:], os.environ.get("GIVEN"), os.environ.get("AIP_MODEL_DIR"), flush=True)
if kind.isdecimal():
    sys.exit(int(kind))
while True:
    signal.pause()
"""


def spec(*arguments: str) -> dict[str, Any]:
    job_spec: dict[str, Any] = custom_job()["jobSpec"]
    container = job_spec["workerPoolSpecs"][0]["containerSpec"]
    container["args"] = [*arguments]
    container["env"] = [{"name": "GIVEN", "value": "by the job"}]
    return job_spec


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    with Reaper() as reaper:
        yield reaper


@pytest.fixture
def trainer(reaper: Reaper) -> TrainerLauncher:
    """Starts `CONTAINER` in place of the trainer."""
    return TrainerLauncher(reaper, {**os.environ, "GIVEN": "to all"}, program=(sys.executable, "-u", "-c", CONTAINER))


def test_the_variables_of_a_job_are_its_own_and_vertex_ais() -> None:
    job_spec = spec()
    assert variables(job_spec) == {"GIVEN": "by the job"}
    job_spec["baseOutputDirectory"] = {"outputUriPrefix": "gs://bucket/base/"}
    assert variables(job_spec) == {
        "GIVEN": "by the job",
        "AIP_MODEL_DIR": "gs://bucket/base/model/",
        "AIP_CHECKPOINT_DIR": "gs://bucket/base/checkpoints/",
        "AIP_TENSORBOARD_LOG_DIR": "gs://bucket/base/logs/",
    }


class TestAProcess:
    def test_gets_the_jobs_arguments_and_variables(self, trainer: TrainerLauncher) -> None:
        process = trainer.start(spec("0", "--epochs", "3"), JOB)
        assert process.wait(PATIENCE_S) == 0
        assert process.poll() == 0
        assert process.lines == ["['0', '--epochs', '3'] by the job None"]

    def test_hears_sigterm_and_its_exit_code_is_known(self, trainer: TrainerLauncher) -> None:
        process = trainer.start(spec("stop"), JOB)
        until(lambda: bool(process.lines))
        assert process.poll() is None
        process.interrupt(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 143
        assert process.lines[-1] == "saved"
        process.interrupt(signal.SIGKILL)

    def test_is_killed_as_a_whole_group(self, trainer: TrainerLauncher) -> None:
        process = trainer.start(spec("deaf"), JOB)
        until(lambda: bool(process.lines))
        assert os.getpgid(process.group) == process.group != os.getpgrp()
        process.interrupt(signal.SIGTERM)
        process.interrupt(signal.SIGKILL)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL

    def test_does_not_outlive_the_rehearsal(self) -> None:
        with Reaper() as reaper:
            launcher = TrainerLauncher(reaper, os.environ, program=(sys.executable, "-u", "-c", CONTAINER))
            process = launcher.start(spec("deaf"), JOB)
            until(lambda: bool(process.lines))
        assert process.wait(PATIENCE_S) == -signal.SIGKILL

    def test_that_cannot_be_started_is_an_error_of_the_system(self, reaper: Reaper) -> None:
        with pytest.raises(OSError, match="no-such-program"):
            TrainerLauncher(reaper, {}, program=("/no-such-program",)).start(spec(), JOB)


class TestInJobs:
    """The whole chain with real processes; the clock stands still but for the start."""

    def start(self, launcher: Launcher, *arguments: str, behaviour: Behaviour = BEHAVIOUR) -> tuple[JobTable, str]:
        clock = ManualClock()
        jobs = JobTable(
            ScriptedCapacity(), launcher, clock, replace(behaviour, cancelling=timedelta(), error_delay=timedelta())
        )
        name = jobs.create(PROJECT, REGION, {**custom_job(), "jobSpec": spec(*arguments)}).name
        clock.advance(timedelta(minutes=10))
        return jobs, name

    def test_the_exit_code_decides(self, trainer: TrainerLauncher) -> None:
        for code, state in (("0", JobState.SUCCEEDED), ("2", JobState.FAILED)):
            jobs, name = self.start(trainer, code)
            with VertexServer(jobs):
                until(lambda jobs=jobs, name=name: jobs.get(name).state.ended)  # type: ignore[misc]
            assert jobs.get(name).state is state
        error = jobs.get(name).error
        assert error is not None
        assert "exited with a non-zero status of 2" in error.message

    def test_a_preemption_lets_it_save(self, trainer: TrainerLauncher) -> None:
        jobs, name = self.start(trainer, "stop")
        with VertexServer(jobs):
            until(lambda: name in trainer.processes and bool(trainer.processes[name].lines))
            jobs.preempt(name, save=True)
            until(lambda: jobs.get(name).state.ended)
        assert jobs.get(name).state is JobState.FAILED
        assert trainer.processes[name].wait(PATIENCE_S) == 143
        assert trainer.processes[name].lines[-1] == "saved"

    def test_who_does_not_heed_is_killed_when_the_grace_is_over(self, trainer: TrainerLauncher) -> None:
        jobs, name = self.start(trainer, "deaf", behaviour=replace(BEHAVIOUR, grace_s=0.05))
        with VertexServer(jobs):
            until(lambda: name in trainer.processes and bool(trainer.processes[name].lines))
            jobs.cancel(name)
            until(lambda: jobs.get(name).state.ended)
        assert jobs.get(name).state is JobState.CANCELLED
        assert trainer.processes[name].poll() == -signal.SIGKILL

    def test_the_end_of_the_server_is_the_end_of_its_processes(self, trainer: TrainerLauncher) -> None:
        jobs, name = self.start(trainer, "deaf", behaviour=replace(BEHAVIOUR, pending=timedelta()))
        with VertexServer(jobs):
            until(lambda: name in trainer.processes)
            process = trainer.processes[name]
            assert process.poll() is None
        assert process.poll() == -signal.SIGKILL


def test_the_highest_step_of_the_log_is_known(reaper: Reaper) -> None:
    text = "run r begins, 60 steps\nstep 8 of 60 (13 %), best at step 5\nstep 7: checkpoint durable"
    process = TrainerLauncher(reaper, {}, program=(sys.executable, "-c", f"print({text!r})")).start(spec(), JOB)
    assert process.wait(PATIENCE_S) == 0
    assert (process.step, len(process.lines)) == (8, 3)
