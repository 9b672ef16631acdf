"""Test exact resume: your task on your sample, stopped by SIGTERM and by SIGKILL, ends as if never interrupted.

This is the most valuable test of the project. It trains with the settings of spot.toml, on the CPU and for a few steps.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest
from conftest import TASK_DATA, flags, load_sample

from spot.config.settings import Settings
from spot.storage import paths

STEPS = 40
LONGEST_S = 90.0
SHORT = ["--data", "sample", "--device", "cpu", "--precision", "auto", "--workers", "1", "--patience", "0"]
SHORT += ["--epochs", str(STEPS), "--max-steps", str(STEPS), "--evaluate-every", "10"]
SAVING = ["--checkpoint-interval", "1e-9"]
STEP_BY_STEP = """
import runpy, sys
from spot.trainer.context import Runtime
from spot.trainer.start import set_runtime

def wait(step, total):
    print(f"at step {step}", flush=True)
    sys.stdin.readline()

set_runtime(Runtime(on_step=wait))
runpy.run_module("task", run_name="__main__")
"""
ADVICE = """
An interrupted run ended differently from an uninterrupted run. Usual causes:
- randomness from a global generator (random, numpy, torch) in a data worker: use sample.generator() in task/data.py
- state outside the state_dict: counters, caches or running means in plain attributes of a module, an optimizer or a
  schedule. Use register_buffer(), or get_extra_state() and set_extra_state()
- in a loop of your own: an object that changes and is not tracked
- the clock, the process id, the host name or an unordered set as an input
"""


class Attempt:
    """One start of `python -m task` that waits in each step, so that it cannot run ahead of the test."""

    def __init__(self, folder: Path, run: str, words: list[str], root: Path, environ: dict[str, str]) -> None:
        where = ["--output-dir", f"{folder}/models", "--checkpoint-dir", f"{folder}/checkpoints", "--run", run]
        self.output = ""
        self._manifests = folder / "checkpoints" / run / "manifests"
        self._process = subprocess.Popen(
            [sys.executable, "-c", STEP_BY_STEP, *where, *words],
            cwd=root,
            env=environ,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.end()
        self._stdout.close()

    def train(self, steps: int) -> None:
        """Return in the step after `steps` more, once a checkpoint of this attempt is durable."""
        before = self._checkpoints()
        self._wait_for_step()
        for _ in range(steps):
            self._stdin.write("\n")
            self._stdin.flush()
            self._wait_for_step()
        end = time.monotonic() + LONGEST_S
        while not self._checkpoints() - before:
            assert time.monotonic() < end, f"no checkpoint after {LONGEST_S:.0f} s:\n{self.output}"
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> int:
        """Send the signal to the whole group, and return the exit code."""
        os.killpg(self._process.pid, number)
        return self.end()

    def end(self) -> int:
        """Wait in no further step, and return the exit code."""
        self._stdin.close()
        self.output += self._stdout.read()
        return self._process.wait(LONGEST_S)

    def _wait_for_step(self) -> None:
        while line := self._stdout.readline():
            self.output += line
            if line.startswith("at step "):
                return
        raise AssertionError(f"it ended before it was interrupted; ten steps are needed:\n{self.output}")

    def _checkpoints(self) -> set[Path]:
        return set(self._manifests.glob("*.json"))


@pytest.mark.timeout(300)
def test_an_interrupted_run_ends_like_an_uninterrupted_run(
    settings: Settings, root: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    def start(run: str, *more: str) -> Attempt:
        return Attempt(tmp_path, run, [*settings.arguments(), *SHORT, *batch_size(), *more], root, environ)

    with start("whole", "--enable-checkpointing", "false") as whole, start("interrupted", *SAVING) as first:
        first.train(3)
        assert first.signal(signal.SIGTERM) == 143, first.output
        assert whole.end() == 0, whole.output
    with start("interrupted", *SAVING) as second:
        second.train(3)
        assert second.signal(signal.SIGKILL) == -signal.SIGKILL, second.output
        assert "resumed from the checkpoint" in second.output, second.output
    with start("interrupted", *SAVING) as third:
        assert third.end() == 0, third.output
        assert "resumed from the checkpoint" in third.output, third.output

    differences = ", ".join(compare(tmp_path / "models/whole", tmp_path / "models/interrupted"))
    assert not differences, f"{differences} differ. {ADVICE}"


def batch_size() -> list[str]:
    """Return a flag for about eight steps an epoch: the order of several epochs is tested."""
    if not hasattr(TASK_DATA, "load"):
        return []
    accumulate = flags().accumulate
    return ["--batch-size", str(accumulate * max(1, min(64, len(load_sample().train) // 8) // accumulate))]


def compare(whole: Path, interrupted: Path) -> list[str]:
    """Return the names of the files of the model, and of the metrics, that differ."""
    files, other_files = (contents(folder / paths.MODEL_FOLDER) for folder in (whole, interrupted))
    metrics, other_metrics = (json.loads((folder / paths.METRICS).read_bytes()) for folder in (whole, interrupted))
    return [
        *sorted(name for name in files | other_files if files.get(name) != other_files.get(name)),
        *sorted(f"{name} of the metrics" for name in metrics if metrics[name] != other_metrics.get(name)),
    ]


def contents(folder: Path) -> dict[str, object]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): content(path) for path in files}


def content(path: Path) -> object:
    data = path.read_bytes()
    if path.suffix != ".safetensors":
        return data
    start = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:start]), data[start:]  # safetensors orders its metadata at random
