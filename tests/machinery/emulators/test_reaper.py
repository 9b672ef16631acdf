"""What a process left running is ended when it is gone, however it went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from spot.emulators.reaper import Reaper

PATIENCE_S = 20.0
# Leaves a group of two behind, tells which, and waits for its end.
TESTATOR = """
import subprocess, sys
from spot.emulators.reaper import Reaper
will = Reaper()
loud = "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid, flush=True); sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", loud], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         text=True, start_new_session=True)
grandchild = child.stdout.readline().strip()
will.kill_group(child.pid, name="group")
will.run(["touch", sys.argv[1]], name="command")
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
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_is_carried_out_when_the_process_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    witness = tmp_path / "witness"
    testator = subprocess.Popen(
        [sys.executable, "-c", TESTATOR, str(witness)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert testator.stdout is not None
    left = [int(pid) for pid in testator.stdout.readline().split()]
    assert len(left) == 2
    assert not any(gone(pid) for pid in left)
    os.killpg(testator.pid, number)  # the whole group, as Ctrl-C does
    testator.communicate()
    wait(left)
    end = time.monotonic() + PATIENCE_S
    while not witness.exists() and time.monotonic() < end:
        time.sleep(0.005)
    assert witness.exists()


def test_leaving_it_carries_it_out(group: subprocess.Popen[bytes]) -> None:
    with Reaper() as will:
        will.kill_group(group.pid, name="a")
        assert group.poll() is None
    assert group.wait(PATIENCE_S) == -signal.SIGKILL


def test_what_is_forgotten_is_left_alone(group: subprocess.Popen[bytes]) -> None:
    with Reaper() as will:
        will.kill_group(group.pid, name="a")
        will.forget("a")
    assert group.poll() is None


def test_a_new_item_takes_the_place_of_an_old_one_of_its_name(group: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with Reaper() as will:
        will.kill_group(group.pid, name="a")
        will.run(["touch", str(tmp_path / "witness")], name="a")
    assert group.poll() is None
    assert (tmp_path / "witness").exists()


def test_what_is_gone_already_or_cannot_be_run_does_not_stop_the_rest(
    group: subprocess.Popen[bytes],
) -> None:
    ended = subprocess.Popen(["true"], start_new_session=True)
    ended.wait()
    with Reaper() as will:
        will.kill_group(ended.pid, name="a")
        will.run(["/no-such-program"], name="b")
        will.kill_group(group.pid, name="c")
    assert group.wait(PATIENCE_S) == -signal.SIGKILL
