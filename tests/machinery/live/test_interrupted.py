"""Test that an interrupt leaves no job behind, at any moment, and that the next call cancels what a kill left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from spot.emulators.faults import Method
from tests.machinery.desk import Desk

pytestmark = pytest.mark.usefixtures("google")
LONGEST_S = 60.0


def started(desk: Desk) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "spot.cli.main", "verify-live", "--yes", "--settings", str(desk.toml)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def calls(desk: Desk, method: Method) -> int:
    return sum(call.method is method for call in desk.server.calls)


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST_S
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def running(desk: Desk) -> list[str]:
    desk.server.jobs.advance()
    page = desk.server.jobs.list("acme-ml", "us-central1")
    return [job.name for job in page.jobs if not job.state.ended]


@pytest.mark.parametrize(("number", "created"), [(signal.SIGINT, 1), (signal.SIGTERM, 15)])
def test_after_an_interrupt_nothing_runs(desk: Desk, number: signal.Signals, created: int) -> None:
    process = started(desk)
    wait_until(lambda: calls(desk, Method.CREATE) >= created)
    process.send_signal(number)
    _, said = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "running jobs continue" not in said
    assert running(desk) == []


def test_a_second_signal_does_not_stop_the_clean_up(desk: Desk) -> None:
    process = started(desk)
    wait_until(lambda: calls(desk, Method.CREATE) >= 20)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: calls(desk, Method.CANCEL) >= 1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LONGEST_S)
    assert running(desk) == []


def test_the_next_call_cancels_what_a_kill_left_before_it_creates_anything(desk: Desk) -> None:
    killed = started(desk)
    wait_until(lambda: calls(desk, Method.CREATE) >= 10)
    killed.kill()
    killed.communicate(timeout=LONGEST_S)
    left = running(desk)
    assert len(left) >= 9
    desk.put("checkpoints/live/abc/exit-1/workerpool0-0-1-0001.json", b"a report that was left")
    desk.server.calls.clear()
    second = started(desk)
    wait_until(lambda: calls(desk, Method.CREATE) >= 1)
    first = next(place for place, call in enumerate(desk.server.calls) if call.method is Method.CREATE)
    cancelled = {call.job for call in desk.server.calls[:first] if call.method is Method.CANCEL}
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=LONGEST_S)
    assert cancelled == {name.rpartition("/")[2] for name in left}
    assert running(desk) == []
    assert [name for name in desk.objects() if name.startswith("checkpoints/")] == []


def test_without_yes_nothing_is_asked_and_the_price_is_under_a_dollar(desk: Desk) -> None:
    said = desk.spot("verify-live")
    assert said.code == 0, said.err
    assert "20 jobs in us-central1, about 20 min, at most $0." in said.out
    assert "spot verify-live --yes" in said.out
    assert desk.server.calls == []
    assert 0 < desk.spot("verify-live", "--json").json["usd"] < 1


def test_a_gpu_that_costs_more_than_a_dollar_is_left_out_and_named(desk: Desk) -> None:
    desk.settings(
        {
            "machine.type": '"a3-highgpu-8g"',
            "machine.accelerator": '"NVIDIA_H100_80GB"',
            "machine.accelerator_count": "8",
        }
    )
    said = desk.spot("verify-live")
    assert said.code == 0, said.err
    assert "left out: gpu: a3-highgpu-8g in us-central1, $" in said.out
    assert "19 jobs" in said.out
