"""A rehearsal tells the same story on any machine, and every story ends in time with the same model."""

from __future__ import annotations

import contextlib
import random
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
from tests.paths import PROJECT

pytestmark = pytest.mark.rehearsals

SEEDS = range(50)
CONDITIONS = ["quiet", "stopped", "busy", "busy again", "nice", "quiet again"]


@pytest.fixture(scope="module")
def tables() -> list[str]:
    return []


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_table_is_the_same_in_every_run(condition: str, tables: list[str], tmp_path: Path) -> None:
    tables.append(table(condition, tmp_path))
    assert tables[-1] == tables[0]
    assert "identical to an uninterrupted training, metrics and order too" in tables[0]
    assert "saved" in tables[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_story_ends_in_time_with_the_same_model_and_no_job_twice(seed: int) -> None:
    assert_succeeded(rehearse(replace(OPTIONS, seed=seed)))


def table(condition: str, folder: Path) -> str:
    """Return what `spot rehearse` prints under a condition of the machine, without its score."""
    (folder / "spot.toml").write_text(GOOD)
    command = [sys.executable, "-m", "spot.demo", "--settings", str(folder / "spot.toml"), "--steps", "200"]
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
    return "\n".join(line for line in out.splitlines() if "on held-out data" not in line)


@contextlib.contextmanager
def stopping(pid: int) -> Iterator[None]:
    """Stop and continue random processes below `pid`."""
    over, chance = threading.Event(), random.Random(0)

    def stop() -> None:
        while not over.wait(chance.uniform(0.1, 0.5)):
            with contextlib.suppress(psutil.Error):
                victim = chance.choice(psutil.Process(pid).children(recursive=True))
                victim.suspend()
                over.wait(chance.uniform(0.05, 0.5))
                victim.resume()

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()
