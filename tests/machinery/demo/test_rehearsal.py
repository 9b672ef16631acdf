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
from pathlib import Path

import psutil
import pytest

from spot.demo.scenario import random_scenario
from tests.machinery.demo.rehearsals import assert_succeeded, rehearse
from tests.machinery.spot_toml import GOOD
from tests.paths import PROJECT, REPOSITORY

pytestmark = pytest.mark.rehearsals

SEEDS = range(50)
CONDITIONS = ["quiet", "stopped", "busy", "busy again", "nice", "again"]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_run_prints_what_the_readme_shows(condition: str, tmp_path: Path) -> None:
    assert printed(condition, tmp_path) == without_score(shown_in_readme())


def test_a_rehearsal_ends_with_a_better_model_in_use_then_a_broken_one_refused_and_a_rollback(tmp_path: Path) -> None:
    lines = printed("quiet", tmp_path, "--promotion")
    assert [line for line in lines if "supervisor: promote" in line or "supervisor: keep" in line] == [
        "   +7:10  supervisor: promote",
        "  +17:13  supervisor: promote",
        "  +24:23  supervisor: keep",
    ]
    first, rehearsed, broken, back = lines[-4:]
    run = "20260105-060000-rehearsal"
    assert re.fullmatch(r"first     promote: accuracy 0\.\d+, and there was no champion", first)
    compared = r"accuracy 0\.\d+ against 0\.\d+ on \d+ samples, gain [+-]0\.\d+ \(95 % bounds [^)]*\)"
    assert re.fullmatch(rf"rehearsal promote: {compared}, champion {run}-first", rehearsed)
    assert re.fullmatch(rf"broken    keep: worse: {compared}, champion {run}", broken)
    assert back == f"rollback  {run}-first is in use again, its files are as they were promoted"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_scenario_ends_in_time_with_the_same_model_and_no_job_twice(seed: int) -> None:
    assert_succeeded(rehearse(play=lambda _, rehearsal: random_scenario(rehearsal, seed)))


def shown_in_readme() -> str:
    [block] = re.findall(r"^```text\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return str(block)


def without_score(text: str) -> list[str]:
    """Return the lines without the score, which depends on the processor, and without spaces at their ends."""
    return [line.rstrip() for line in text.splitlines() if "on held-out data" not in line]


def printed(condition: str, folder: Path, *flags: str) -> list[str]:
    """Return what `spot rehearse` prints under a condition of the machine, without the score."""
    (folder / "spot.toml").write_text(GOOD)
    command = [sys.executable, "-m", "spot.demo", "--settings", str(folder / "spot.toml"), *flags]
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
