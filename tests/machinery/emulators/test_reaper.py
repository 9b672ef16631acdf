"""The processes that a process leaves behind are killed, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from spot.emulators.reaper import Reaper

PATIENCE_S = 60.0
# Leaves a group of two behind, prints their ids, and waits for its end.
PARENT = """
import subprocess, sys
from spot.emulators.reaper import Reaper
reaper = Reaper()
code = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True); sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         text=True, start_new_session=True)
grandchild = child.stdout.readline().strip()
reaper.add(child.pid)
print(child.pid, grandchild, flush=True)
sys.stdin.read()
"""


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait(pids: list[int]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < end, f"still there: {pids}"
        time.sleep(0.005)


@pytest.fixture
def group() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_groups_are_killed_when_the_process_is(number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    left = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(left) == 2
    assert not any(gone(pid) for pid in left)
    os.killpg(parent.pid, number)  # the whole group, as Ctrl-C does
    parent.communicate(timeout=PATIENCE_S)
    wait(left)


def test_leaving_the_context_kills_the_groups(group: subprocess.Popen[bytes]) -> None:
    with Reaper() as reaper:
        reaper.add(group.pid)
        assert group.poll() is None
    assert group.wait(PATIENCE_S) == -signal.SIGKILL


def test_a_forgotten_group_is_left_alone(group: subprocess.Popen[bytes]) -> None:
    with Reaper() as reaper:
        reaper.add(group.pid)
        reaper.forget(group.pid)
    assert group.poll() is None


def test_a_group_that_is_gone_does_not_stop_the_rest(group: subprocess.Popen[bytes]) -> None:
    ended = subprocess.Popen(["true"], start_new_session=True)
    ended.wait()
    with Reaper() as reaper:
        reaper.add(ended.pid)
        reaper.add(group.pid)
    assert group.wait(PATIENCE_S) == -signal.SIGKILL
