"""Test the progress display: a bar on a terminal, one plain line per interval elsewhere."""

from __future__ import annotations

import logging
import os
import pty
import select
import sys
from collections.abc import Mapping

import pytest
import torch

from spot.core.clock import Clock, SystemClock
from spot.storage.local import LocalStore
from spot.trainer.context import Runtime, Start
from spot.trainer.progress import Monitor, OnMetrics
from spot.trainer.runtime.flags import parse
from spot.trainer.runtime.log import configure
from spot.trainer.runtime.signals import StopSignal
from tests.machinery.clocks import ManualClock
from tests.machinery.fixture_task import PACKAGE, STEPS_69, TASK
from tests.machinery.trainer.harness import fresh
from tests.paths import REPOSITORY, SRC


def monitor(interval_s: float, clock: Clock, on_metrics: OnMetrics | None = None) -> Monitor:
    flags = parse(["--log-interval", str(interval_s)], {})
    runtime = Runtime(clock=clock)
    start = Start(task=TASK, flags=flags, outputs=LocalStore("/nowhere"), stop=StopSignal(), runtime=runtime)
    return Monitor(start, on_metrics)


def test_there_is_one_line_per_interval_and_one_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    state = fresh(total_steps=80)
    state.steps_per_second = 2.0
    progress = monitor(10.0, clock)
    progress.begin(state, [])
    with caplog.at_level(logging.INFO):
        while not state.finished:
            state.stepped({"loss": 0.5})
            clock.sleep(0.5)
            progress.stepped(state, {"loss": 0.5})
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(",")[0] for line in lines] == [
        "step 20 of 80 (25 %)",
        "step 40 of 80 (50 %)",
        "step 60 of 80 (75 %)",
        "step 80 of 80 (100 %)",
    ]
    assert "loss 0.5, 2 steps/s, learning_rate" in lines[0]
    assert "30 s left" in lines[0]


def test_a_line_names_the_newest_and_the_best_value(caplog: pytest.LogCaptureFixture) -> None:
    state = fresh()
    for step, value in ((1, 0.9), (2, 0.8)):
        state.counters.step = step
        state.evaluated({"accuracy": value}, 0.5)
    progress = monitor(1e-9, SystemClock())
    progress.begin(state, [])
    with caplog.at_level(logging.INFO):
        progress.stepped(state, {})
    assert "accuracy 0.8000 (best 0.9000 at step 1)" in caplog.text


def test_tokens_are_reported_as_a_rate(caplog: pytest.LogCaptureFixture) -> None:
    state = fresh()
    state.steps_per_second = 4.0
    progress = monitor(1e-9, SystemClock())
    progress.begin(state, [])
    with caplog.at_level(logging.INFO):
        progress.stepped(state, {"tokens": torch.tensor(500)})
    assert "2e+03 tokens/s" in caplog.text


def test_a_tracker_that_fails_is_called_once_and_ends_no_training(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def tracker(step: int, values: Mapping[str, float]) -> None:
        calls.append((step, dict(values)))
        raise ConnectionError("no server")

    state = fresh()
    progress = monitor(1e9, ManualClock(), tracker)
    progress.begin(state, [])
    for value in (0.5, 0.6):
        state.evaluated({"accuracy": value}, 0.5)
        progress.evaluated(state)
    assert calls == [(0, {"held_out/accuracy": 0.5})]
    assert "on_metrics failed, and is not called again" in caplog.text


def test_the_log_goes_to_standard_output_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:]
    try:
        configure()
        logging.getLogger("trainer").info("hello")
    finally:
        root.handlers[:] = before
    out, err = capsys.readouterr()
    assert out.endswith("Z INFO    hello\n")
    assert err == ""


@pytest.mark.chaos
def test_on_a_terminal_there_is_a_bar_with_steps_and_scores(tmp_path: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(PYTHONPATH=f"{SRC}{os.pathsep}{REPOSITORY}", TERM="xterm", COLUMNS="120")
        os.chdir(tmp_path)
        os.execv(sys.executable, [sys.executable, "-m", PACKAGE, *STEPS_69])
    shown = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            shown += os.read(terminal, 1 << 16)
        except OSError:
            break
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"69/69" in shown
    assert b"accuracy 0." in shown
    assert b"checkpoint durable" in shown
