"""What runs in a job gets what Vertex AI would give it, and the signals that it would get."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spot.core.job import JobState
from spot.emulators.capacity import Unlimited
from spot.emulators.job_lifecycle import Behaviour
from spot.emulators.jobs import Jobs
from spot.emulators.launcher import ContainerLauncher, Launcher, NoLauncher, TrainerLauncher, variables
from spot.emulators.reaper import Reaper
from spot.emulators.vertex_server import VertexServer
from tests.machinery.clocks import ManualClock
from tests.machinery.emulators.world import BEHAVIOUR, PROJECT, REGION, custom_job

PATIENCE_S = 20.0
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
# Runs the "image", a program, in place of a container of it, as podman would have been asked to.
ENGINE = f"""#!{sys.executable}
import json, os, signal, sys
from pathlib import Path
folder, words = Path(__file__).parent, sys.argv[1:]
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
if words[0] == "run":
    image = words.index("example/image")
    if words[image + 1] == "late":
        signal.pause()
    (folder / words[words.index("--name") + 1]).write_text(str(os.getpid()))
    os.execv(sys.executable, [sys.executable, str(folder / "program.py"), *words[image + 1 :]])
container = folder / words[-1]
if words[0] == "rm":
    sys.exit()
if not container.exists():
    sys.exit("no such container")
os.kill(int(container.read_text()), signal.Signals["SIG" + words[2]])
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
def will() -> Iterator[Reaper]:
    with Reaper() as will:
        yield will


@pytest.fixture
def trainer(will: Reaper) -> TrainerLauncher:
    """Starts `CONTAINER` in place of the trainer."""
    return TrainerLauncher({**os.environ, "GIVEN": "to all"}, will, program=(sys.executable, "-u", "-c", CONTAINER))


@pytest.fixture
def container(will: Reaper, tmp_path: Path) -> ContainerLauncher:
    """Runs `CONTAINER` through an engine that makes no container."""
    engine = tmp_path / "engine"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    (tmp_path / "program.py").write_text(CONTAINER)
    return ContainerLauncher("example/image", {"GIVEN": "to all"}, will, engine=str(engine))


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


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
        assert process.seen.lines == ["['0', '--epochs', '3'] by the job None"]

    def test_hears_sigterm_and_its_exit_code_is_known(self, trainer: TrainerLauncher) -> None:
        process = trainer.start(spec("stop"), JOB)
        until(lambda: bool(process.seen.lines))
        assert process.poll() is None
        process.interrupt(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 143
        assert process.seen.lines[-1] == "saved"
        process.interrupt(signal.SIGKILL)

    def test_is_killed_as_a_whole_group(self, trainer: TrainerLauncher) -> None:
        process = trainer.start(spec("deaf"), JOB)
        until(lambda: bool(process.seen.lines))
        assert os.getpgid(process.group) == process.group != os.getpgrp()
        process.interrupt(signal.SIGTERM)
        process.interrupt(signal.SIGKILL)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL

    def test_does_not_outlive_the_rehearsal(self) -> None:
        with Reaper() as will:
            launcher = TrainerLauncher(os.environ, will, program=(sys.executable, "-u", "-c", CONTAINER))
            process = launcher.start(spec("deaf"), JOB)
            until(lambda: bool(process.seen.lines))
        assert process.wait(PATIENCE_S) == -signal.SIGKILL

    def test_that_cannot_be_started_is_an_error_of_the_system(self, will: Reaper) -> None:
        with pytest.raises(OSError, match="no-such-program"):
            TrainerLauncher({}, will, program=("/no-such-program",)).start(spec(), JOB)


class TestAContainer:
    def test_is_run_with_its_variables_by_name(self, container: ContainerLauncher, tmp_path: Path) -> None:
        process = container.start(spec("3", "--epochs"), JOB)
        assert process.client.wait(PATIENCE_S) == process.poll() == 3
        assert process.client.seen.lines == ["['3', '--epochs'] by the job None"]
        (run,) = calls(tmp_path)
        name = run[run.index("--name") + 1]
        assert name.startswith("rehearsal-")
        options = ["--rm", "--network", "host", "--name", name, "--env", "GIVEN"]
        assert run == ["run", *options, "example/image", "3", "--epochs"]

    def test_gets_its_signals_through_the_engine(self, container: ContainerLauncher, tmp_path: Path) -> None:
        process = container.start(spec("stop"), JOB)
        until(lambda: bool(process.client.seen.lines))
        process.interrupt(signal.SIGTERM)
        assert process.client.wait(PATIENCE_S) == 143
        assert calls(tmp_path)[1][:3] == ["kill", "--signal", "TERM"]
        process.interrupt(signal.SIGKILL)
        assert len(calls(tmp_path)) == 2, "one that has ended is left alone"

    def test_that_does_not_exist_yet_is_never_made(self, container: ContainerLauncher) -> None:
        process = container.start(spec("late"), JOB)
        process.interrupt(signal.SIGTERM)
        assert process.client.wait(PATIENCE_S) == -signal.SIGTERM
        assert process.client.seen.lines == []

    def test_of_an_engine_that_is_not_there_is_an_error_of_the_system(self, will: Reaper) -> None:
        with pytest.raises(OSError, match="no-engine"):
            ContainerLauncher("example/image", {}, will, engine="/no-engine").start(spec(), JOB)

    def test_does_not_outlive_the_rehearsal(self, container: ContainerLauncher, will: Reaper, tmp_path: Path) -> None:
        process = container.start(spec("stop"), JOB)
        until(lambda: bool(process.client.seen.lines))
        will.close()
        assert process.client.wait(PATIENCE_S) == -signal.SIGKILL
        run, remove = calls(tmp_path)
        assert remove == ["rm", "--force", run[run.index("--name") + 1]]

    def test_two_starts_of_one_job_have_different_names(self, container: ContainerLauncher, tmp_path: Path) -> None:
        for _ in range(2):
            assert container.start(spec("0"), JOB).client.wait(PATIENCE_S) == 0
        first, second = calls(tmp_path)
        assert first[first.index("--name") + 1] != second[second.index("--name") + 1]


class TestInJobs:
    """The whole chain with real processes; the clock stands still but for the start."""

    def start(self, launcher: Launcher, *arguments: str, behaviour: Behaviour = BEHAVIOUR) -> tuple[Jobs, str]:
        clock = ManualClock()
        jobs = Jobs(Unlimited(), launcher, clock, replace(behaviour, cancelling=timedelta(), error_delay=timedelta()))
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
            until(lambda: name in trainer.processes and bool(trainer.processes[name].seen.lines))
            jobs.preempt(name, save=True)
            until(lambda: jobs.get(name).state.ended)
        assert jobs.get(name).state is JobState.FAILED
        assert trainer.processes[name].wait(PATIENCE_S) == 143
        assert trainer.processes[name].seen.lines[-1] == "saved"

    def test_who_does_not_heed_is_killed_when_the_grace_is_over(self, trainer: TrainerLauncher) -> None:
        jobs, name = self.start(trainer, "deaf", behaviour=replace(BEHAVIOUR, grace_s=0.05))
        with VertexServer(jobs):
            until(lambda: name in trainer.processes and bool(trainer.processes[name].seen.lines))
            jobs.cancel(name)
            until(lambda: jobs.get(name).state.ended)
        assert jobs.get(name).state is JobState.CANCELLED
        assert trainer.processes[name].poll() == -signal.SIGKILL

    def test_a_restart_never_has_two_at_a_time(self, trainer: TrainerLauncher) -> None:
        jobs, name = self.start(trainer, "deaf", behaviour=replace(BEHAVIOUR, pending=timedelta()))
        with VertexServer(jobs):
            until(lambda: jobs.get(name).starts == 1)
            first = trainer.processes[name]
            jobs.restart_inside(name)
            until(lambda: jobs.get(name).starts == 2)
            assert first.poll() == -signal.SIGKILL
            second = trainer.processes[name]
            assert second is not first
            assert second.poll() is None
        assert second.poll() == -signal.SIGKILL, "the end of the server is the end of what runs"


def test_where_nothing_runs_it_runs_until_it_is_told() -> None:
    process = NoLauncher(on_sigterm=None).start({}, JOB)
    process.interrupt(signal.SIGTERM)
    assert process.poll() is None
    process.end(7)
    process.interrupt(signal.SIGKILL)
    process.end(8)
    assert process.poll() == 7
