"""Test the progress display: a bar on a terminal, one plain line per interval elsewhere."""

from __future__ import annotations

import logging
import os
import pty
import select
import sys

import pytest

from spot.core.clock import SystemClock
from spot.trainer.progress import ProgressDisplay
from spot.trainer.runtime.log import configure
from tests.machinery.clocks import ManualClock
from tests.machinery.trainer.harness import Case, fresh
from tests.paths import REPOSITORY, SRC


def test_there_is_one_line_per_interval_and_one_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    state = fresh(Case(samples=80, batch_size=1, accumulate=1, epochs=1))
    state.steps_per_second = 2.0
    with caplog.at_level(logging.INFO), ProgressDisplay(10.0, clock, terminal=False) as progress:
        progress.begin(state)
        while not state.finished:
            state.counters.offset += 1
            state.stepped()
            clock.sleep(0.5)
            progress.stepped(state)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(",")[0] for line in lines] == [
        "step 20 of 80 (25 %)",
        "step 40 of 80 (50 %)",
        "step 60 of 80 (75 %)",
        "step 80 of 80 (100 %)",
    ]
    assert "30 s left" in lines[0]


def test_a_line_names_the_newest_and_the_best_score(caplog: pytest.LogCaptureFixture) -> None:
    state = fresh(Case())
    for step, score in ((1, 0.9), (2, 0.8)):
        state.counters.step = step
        state.evaluated(score, 1.0, 0.5)
    with caplog.at_level(logging.INFO), ProgressDisplay(1e-9, SystemClock(), terminal=False) as progress:
        progress.stepped(state)
    assert "accuracy 0.8000 (best 0.9000 at step 1)" in caplog.text


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
        os.execv(sys.executable, [sys.executable, "-m", "tests.machinery.fixture_task", "--epochs", "3"])
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
