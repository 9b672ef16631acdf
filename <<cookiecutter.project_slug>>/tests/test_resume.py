"""Test exact resume: your model on your sample, stopped by SIGTERM and by SIGKILL, ends as if never interrupted.

This is the most valuable test of the project. It starts `python -m task` as a Vertex AI machine does.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from conftest import learning_rate
from safetensors.torch import load_file

from spot.storage import paths
from spot.trainer import Data

STEPS = 40
"""Twice what the buffers below let the trainer run ahead of the test, and a few more."""
SMALL_BUFFER = 1024
LONGEST_S = 90.0
ADVICE = """
An interrupted run ended differently from an uninterrupted run. Usual causes:
- randomness from a global generator (random, numpy, torch) in a data worker: use sample.generator() in task/data.py
- state outside the state_dict: counters, caches or running means in plain attributes of a module, an optimizer or a
  schedule. Use register_buffer(), or get_extra_state() and set_extra_state()
- the clock, the process id, the host name or an unordered set as an input
"""


class Attempt:
    """One start of the trainer. Its output goes through a small socket, so that it cannot run ahead of the test."""

    def __init__(self, folder: Path, run: str, flags: list[str], root: Path, environ: dict[str, str]) -> None:
        where = ["--output-dir", f"{folder}/models", "--checkpoint-dir", f"{folder}/checkpoints", "--run", run]
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        ours.settimeout(LONGEST_S)
        self.manifests = folder / "checkpoints" / run / "manifests"
        self.output = ""
        self._lines = ours.makefile(encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "task", *where, *flags],
            cwd=root,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        theirs.close()
        ours.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._lines.close()

    def lines(self) -> Iterator[str]:
        while line := self._lines.readline():
            self.output += line
            yield line

    def interrupt_after(self, more_steps: int, signal_number: signal.Signals) -> int:
        """Send the signal to the whole group once a checkpoint of this attempt is durable; return the exit code."""
        before = self._checkpoints()
        first = None
        for line in self.lines():
            if found := re.search(r"step (\d+) of \d+ \(", line):
                first = first or int(found[1])
                if int(found[1]) >= first + more_steps:
                    break
        else:
            raise AssertionError(f"the attempt ended before it was interrupted:\n{self.output}")
        end = time.monotonic() + LONGEST_S
        while not self._checkpoints() - before:
            assert time.monotonic() < end, f"no checkpoint after {LONGEST_S:.0f} s:\n{self.output}"
            time.sleep(0.01)
        os.killpg(self._process.pid, signal_number)
        return self.wait()

    def wait(self) -> int:
        """Return the exit code."""
        for _ in self.lines():
            pass
        return self._process.wait(LONGEST_S)

    def _checkpoints(self) -> set[Path]:
        return set(self.manifests.glob("*.json"))


@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name == "nt", reason="needs signals and process groups")
def test_an_interrupted_run_ends_like_an_uninterrupted_run(
    root: Path, environ: dict[str, str], sample_data: Data, tmp_path: Path
) -> None:
    batch_size = min(64, -(-len(sample_data.train) // 8))
    flags = ["--max-steps", str(STEPS), "--epochs", str(STEPS), "--batch-size", str(batch_size), "--workers", "1"]
    flags += ["--device", "cpu", "--log-interval", "1e-9", *learning_rate()]
    saving = ["--checkpoint-interval", "1e-9"]

    def start(run: str, *more: str) -> Attempt:
        return Attempt(tmp_path, run, [*flags, *more], root, environ)

    with start("whole", "--enable-checkpointing", "false") as whole, start("interrupted", *saving) as first:
        assert first.interrupt_after(3, signal.SIGTERM) == 143, first.output
        assert whole.wait() == 0, whole.output
    with start("interrupted", *saving) as second:
        assert second.interrupt_after(3, signal.SIGKILL) == -signal.SIGKILL, second.output
        assert "resumed from the checkpoint" in second.output, second.output
    with start("interrupted", *saving) as third:
        assert third.wait() == 0, third.output
        assert "resumed from the checkpoint" in third.output, third.output

    differences = ", ".join(compare(tmp_path / "models/whole", tmp_path / "models/interrupted"))
    assert not differences, f"{differences} differ. {ADVICE}"


def compare(whole: Path, interrupted: Path) -> list[str]:
    """Return the names of weights and metrics that differ."""
    weights, other_weights = (load_file(folder / paths.MODEL) for folder in (whole, interrupted))
    found = [
        f"weights {name}"
        for name in weights | other_weights
        if name not in weights or name not in other_weights or not weights[name].equal(other_weights[name])
    ]
    metrics, other_metrics = (json.loads((folder / paths.METRICS).read_text()) for folder in (whole, interrupted))
    labels = {"samples_digest": "the order of samples"}
    found += [labels.get(name, f"metrics {name}") for name in metrics if metrics[name] != other_metrics.get(name)]
    return found
