"""A container gets its arguments, variables and signals through the engine."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spot.emulators.reaper import Reaper
from tests.machinery.emulators.containers import ContainerLauncher
from tests.machinery.emulators.test_launcher import CONTAINER, JOB, PATIENCE_S, spec, until

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
if not container.exists():
    sys.exit("no such container")
os.kill(int(container.read_text()), signal.Signals["SIG" + words[2]])
"""


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[ContainerLauncher]:
    """Run `CONTAINER` through an engine that makes no container."""
    engine = tmp_path / "engine"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    (tmp_path / "program.py").write_text(CONTAINER)
    with Reaper() as reaper:
        yield ContainerLauncher("example/image", reaper, {"GIVEN": "to all"}, engine=str(engine))


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def test_it_is_run_with_its_variables_by_name(containers: ContainerLauncher, tmp_path: Path) -> None:
    process = containers.start(spec("3", "--epochs"), JOB)
    assert process.wait(PATIENCE_S) == process.poll() == 3
    assert process.lines == ["['3', '--epochs'] by the job None"]
    (run,) = calls(tmp_path)
    name = run[run.index("--name") + 1]
    assert name.startswith(f"rehearsal-{os.getpid()}-")
    options = ["--rm", "--network", "host", "--name", name, "--env", "GIVEN"]
    assert run == ["run", *options, "example/image", "3", "--epochs"]


def test_it_gets_its_signals_through_the_engine(containers: ContainerLauncher, tmp_path: Path) -> None:
    process = containers.start(spec("stop"), JOB)
    until(lambda: bool(process.lines))
    process.interrupt(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 143
    assert calls(tmp_path)[1][:3] == ["kill", "--signal", "TERM"]
    process.interrupt(signal.SIGKILL)
    assert len(calls(tmp_path)) == 2, "an ended container gets no signal"


def test_before_it_exists_the_signal_ends_the_command_that_makes_it(containers: ContainerLauncher) -> None:
    process = containers.start(spec("late"), JOB)
    process.interrupt(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == -signal.SIGTERM
    assert process.lines == []


def test_two_starts_of_one_job_have_different_names(containers: ContainerLauncher, tmp_path: Path) -> None:
    for _ in range(2):
        assert containers.start(spec("0"), JOB).wait(PATIENCE_S) == 0
    first, second = calls(tmp_path)
    assert first[first.index("--name") + 1] != second[second.index("--name") + 1]
