"""Test that the real frameworks train through the folder mode: commit, resume, exit codes and results are ours."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.torch import load_file

from spot.storage import paths
from spot.storage.factory import open_store
from spot.storage.records import completion, manifest
from tests.paths import PROJECT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]  # importing a framework takes ten seconds

FRAMEWORKS = ("huggingface", "lightning")


def program(framework: str) -> str:
    """Return the program of a framework, whose import takes seconds that every collection would pay."""
    return (Path(__file__).parent / framework).with_suffix(".py").read_text(encoding="utf-8")


def steps_of(framework: str) -> int:
    found = re.search(r"^STEPS = (\d+)$", program(framework), re.MULTILINE)
    assert found
    return int(found[1])


@dataclass(frozen=True, slots=True)
class Training:
    """Start the loop of a framework, each time in an empty working directory, as on a new machine."""

    framework: str
    uri: str
    folder: Path

    @contextmanager
    def start(self, *flags: str, step_s: float = 0.0) -> Iterator[subprocess.Popen[str]]:
        cwd = self.folder / f"machine-{len(list(self.folder.iterdir()))}"
        cwd.mkdir()
        where = ("--output-dir", f"{self.uri}/models", "--checkpoint-dir", f"{self.uri}/checkpoints")
        command = [sys.executable, "-m", "tests.machinery.frameworks", self.framework, *where, "--device", "cpu"]
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "STEP_S": str(step_s)}
        with subprocess.Popen(
            [*command, *flags], cwd=cwd, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def durable(self) -> int:
        found = manifest.newest(open_store(f"{self.uri}/checkpoints"), "default")
        return found.step if found else 0


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """Return the output up to the first line that matches."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(pattern, line):
            return "".join(lines)
    raise AssertionError(f"no line matches {pattern}:\n{''.join(lines)}")


def rest(process: subprocess.Popen[str]) -> tuple[str, int]:
    """Return the remaining output, and the exit code."""
    out, _ = process.communicate(timeout=120)
    return out, process.returncode


@pytest.fixture(params=FRAMEWORKS)
def training(request: pytest.FixtureRequest, tmp_path: Path) -> Training:
    """Return the training of each framework, on each store once."""
    uri = str(request.getfixturevalue("gs_uri")) if request.param == "huggingface" else str(tmp_path / "store")
    (tmp_path / "machines").mkdir()
    return Training(request.param, uri, tmp_path / "machines")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_documentation_shows_the_loop_that_these_tests_train(framework: str) -> None:
    page = (PROJECT / "docs/bring-your-loop.md").read_text(encoding="utf-8")
    assert f"```python\n{program(framework)}```" in page


OFTEN = ("--checkpoint-interval", "0.01")
SLOW_S = 0.3
"""Steps that a test interrupts: all of them take 18 s and more."""


def test_a_training_that_is_stopped_and_killed_goes_on_to_its_results(training: Training) -> None:
    total = steps_of(training.framework)
    with training.start(*OFTEN, step_s=SLOW_S) as first:
        read_until(first, "checkpoint durable")
        first.send_signal(signal.SIGTERM)
        out, code = rest(first)
        assert code == 143, out
        stopped = training.durable()
        assert f"step {stopped}: durable, exiting" in out
        assert 0 < stopped < total

    with training.start(*OFTEN, step_s=SLOW_S) as second:
        read_until(second, f"step {stopped} of {total}: resumed from the checkpoint")
        read_until(second, "checkpoint durable")
        second.kill()
        _, code = rest(second)
        assert code == -signal.SIGKILL
        killed = training.durable()
        assert stopped < killed < total

    with training.start() as third:
        out, code = rest(third)
        assert code == 0, out
        assert f"step {killed} of {total}: resumed from the checkpoint" in out
        assert f"after {total} steps" in out
    assert training.durable() == total
    assert_results(training, total)

    with training.start() as fourth:
        out, code = rest(fourth)
        assert (code, "is complete" in out) == (0, True)


def test_a_training_that_ended_early_but_was_not_exported_is_exported(training: Training) -> None:
    short = ("--max-steps", "12")
    with training.start(*short) as first:
        read_until(first, "step 12: checkpoint durable")
        first.kill()
        rest(first)
    models = open_store(f"{training.uri}/models")
    models.delete(paths.output("default", paths.COMPLETION))
    with training.start(*short) as second:
        out, code = rest(second)
        assert code == 0, out
    assert_results(training, 12)


def assert_results(training: Training, steps: int) -> None:
    models = open_store(f"{training.uri}/models")
    found = completion.read(models, "default")
    assert found
    metrics = json.loads(models.read(paths.output("default", paths.METRICS)).data)
    assert metrics["steps"] == metrics["shipped"]["step"] == steps
    assert metrics["shipped"][metrics["metric"]] > 0
    weights = training.folder / "model.safetensors"
    weights.write_bytes(models.read(paths.output("default", paths.MODEL)).data)
    assert load_file(weights)
