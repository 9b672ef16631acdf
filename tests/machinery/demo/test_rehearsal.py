"""Test that a rehearsal prints the same on any machine, and that every scenario ends in time with the same model."""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.machinery.demo.rehearsals import OPTIONS, assert_succeeded, rehearse
from tests.machinery.spot_toml import GOOD
from tests.paths import PROJECT, REPOSITORY

pytestmark = pytest.mark.rehearsals

SEEDS = range(50)
CONDITIONS = ["quiet", "stopped", "busy", "busy again", "nice", "again"]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_run_prints_what_the_readme_shows(condition: str, tmp_path: Path) -> None:
    assert printed(condition, tmp_path) == without_score(shown_in_readme())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_scenario_ends_in_time_with_the_same_model_and_no_job_twice(seed: int) -> None:
    assert_succeeded(rehearse(replace(OPTIONS, seed=seed)))


def shown_in_readme() -> str:
    [block] = re.findall(r"^```text\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return str(block)


def without_score(text: str) -> list[str]:
    """Return the lines without the score, which depends on the processor, and without spaces at their ends."""
    return [line.rstrip() for line in text.splitlines() if "on held-out data" not in line]


def printed(condition: str, folder: Path) -> list[str]:
    """Return what `spot rehearse` prints under a condition of the machine, without the score."""
    (folder / "spot.toml").write_text(GOOD)
    command = [sys.executable, "-m", "spot.demo", "--settings", str(folder / "spot.toml")]
    with ExitStack() as stack:
        for _ in range(4 if condition.startswith("busy") else 0):
            stack.callback(subprocess.Popen([sys.executable, "-c", "while True: pass"]).kill)
        process = stack.enter_context(
            subprocess.Popen(
                ["nice", "-n", "19", *command] if condition == "nice" else command,
                cwd=PROJECT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        if condition == "stopped":
            stack.enter_context(stopping(process.pid))
        out, err = process.communicate()
    assert process.returncode == 0, (out, err)
    return without_score(out)


@contextlib.contextmanager
def stopping(pid: int) -> Iterator[None]:
    """Stop and continue random processes below `pid`."""
    over, chance = threading.Event(), random.Random(0)

    def stop() -> None:
        while not over.wait(chance.uniform(0.1, 0.5)):
            with contextlib.suppress(psutil.Error, IndexError):  # it has ended, or there is none yet
                victim = chance.choice(psutil.Process(pid).children(recursive=True))
                victim.suspend()
                over.wait(chance.uniform(0.05, 0.5))
                victim.resume()

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()
