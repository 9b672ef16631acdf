"""Test how a launcher ends with its ranks, which are real processes without torch."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import psutil
import pytest

from spot.trainer.runtime.launcher import exit_code
from tests.paths import REPOSITORY, SRC

PROGRAM = """
import os, signal, sys, time
if "RANK" in os.environ:
    rank = int(os.environ["RANK"])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    action = sys.argv[1 + rank]
    names = ("WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
    os.write(1, (" ".join(["rank", str(rank), *(os.environ[name] for name in names)]) + "\\n").encode())
    if action == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if action in ("wait", "hang"):
        print("waits", flush=True)
        time.sleep(600)
    if action.startswith("write "):
        os.write(int(action.removeprefix("write ")), b"inherited")
        action = "0"
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(int(action))
from spot.core.clock import SystemClock
from spot.trainer.runtime.launcher import launch
from spot.trainer.runtime.signals import StopSignal
stop = StopSignal()
stop.grace_s = 0.3
stop.install()
sys.exit(launch(len(sys.argv) - 1, None, stop, SystemClock()))
"""
ENVIRON = {**os.environ, "PYTHONPATH": f"{SRC}{os.pathsep}{REPOSITORY}"}
PATIENCE_S = 60.0


def launcher(actions: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, *actions]
    return subprocess.Popen(command, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([0, 0], 0),
        ([0, 143], 143),
        ([130, 0], 130),
        ([1, 143], 1),
        ([75, 1, 143], 75),
        ([2, 75, 1], 2),
        ([-9, 0], 75),
        ([-9, 143], 75),
        ([-11], 75),
        ([-6, 143], 75),
        ([134, 0], 75),
        ([-15, 0], 143),
        ([-2, -2], 130),
        ([3, 0], 3),
    ],
)
def test_the_code_tells_what_must_be_done_next(codes: list[int], expected: int) -> None:
    assert exit_code(codes) == exit_code(codes[::-1]) == expected


def test_each_rank_is_this_command_with_its_place() -> None:
    output, _ = (ranks := launcher(["0", "0"])).communicate(timeout=PATIENCE_S)
    assert ranks.returncode == 0, output
    assert sorted(output.splitlines()) == ["rank 0 2 0 2 0", "rank 1 2 1 2 0"]


def test_ranks_inherit_the_descriptors_of_this_process(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-c", PROGRAM, f"write {log.fileno()}", "0"]
        subprocess.run(command, env=ENVIRON, pass_fds=(log.fileno(),), timeout=PATIENCE_S, check=True)
    assert (tmp_path / "log").read_text() == "inherited"


@pytest.mark.parametrize(("action", "expected"), [("1", 75), ("2", 2), ("kill", 75)])
def test_ranks_that_do_not_leave_after_one_failed_are_killed_after_the_grace(action: str, expected: int) -> None:
    output, _ = (ranks := launcher(["hang", action])).communicate(timeout=PATIENCE_S)
    assert ranks.returncode == expected, output
    assert not psutil.pid_exists(ranks.pid) or not psutil.Process(ranks.pid).children()


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_passed_on_to_every_rank(number: int, expected: int) -> None:
    ranks = launcher(["wait", "wait"])
    assert ranks.stdout
    waiting = (line for line in iter(ranks.stdout.readline, "") if line == "waits\n")
    assert len(list(islice(waiting, 2))) == 2
    ranks.send_signal(number)
    output, _ = ranks.communicate(timeout=PATIENCE_S)
    assert ranks.returncode == expected, output


def test_a_signal_as_soon_as_it_can_be_handled_ends_the_first_process_with_143(tmp_path: Path) -> None:
    """Run the trainer itself. Before torch is loaded, and before the ranks are started, nothing is lost."""
    where = ["--output-dir", str(tmp_path / "models"), "--checkpoint-dir", str(tmp_path / "checkpoints")]
    command = [sys.executable, "-P", "-m", "tests.machinery.fixture_task", "--ranks", "2", "--device", "cpu", *where]
    first = subprocess.Popen(command, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + PATIENCE_S
    while not _handles(first.pid, signal.SIGTERM) and time.monotonic() < end:
        os.sched_yield()
    first.send_signal(signal.SIGTERM)
    output, _ = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 143, output
    assert not (tmp_path / "models").exists()


def _handles(pid: int, number: int) -> bool:
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)
