"""Test that a step killed at any call leaves no run unattended, creates no job twice and hides no failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spot.emulators.faults import LostReply, Method, never
from tests.paths import SRC
from tests.workflows.cloud import IMAGES, Cloud

pytestmark = pytest.mark.workflows

KILLED = -9
EFFECT = pytest.mark.parametrize("effect", [True, False], ids=["it took effect", "it had no effect"])


class Step:
    """Start `python -m spot.github.workflow` as a workflow does, and kill it at a call."""

    def __init__(self, team: Cloud, folder: Path) -> None:
        self._team, self._folder = team, folder
        self._running: subprocess.Popen[bytes] | None = None
        (folder / "spot.toml").write_text(team.settings)
        self._environ = {
            **team.environ,
            "GITHUB_RUN_ID": "7",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_STEP_SUMMARY": str(folder / "summary"),
            "GITHUB_TOKEN": "a-token",
            "IMAGE": f"{IMAGES}/trainer@sha256:{9:064d}",
            "PYTHONPATH": str(SRC),
        }

    def run(self, verb: str) -> int:
        words = [sys.executable, "-m", "spot.github.workflow", verb]
        pipe = subprocess.DEVNULL
        self._running = subprocess.Popen(words, cwd=self._folder, env=self._environ, stdout=pipe, stderr=pipe)
        return self._running.wait(timeout=60)

    def run_until(self, verb: str, call: str, number: int, *, effect: bool) -> None:
        """Kill the step at its `number`-th such call to GitHub, from 1."""
        seen = list[str]()

        def kill(made: str) -> None:
            seen.extend([made] if made.startswith(call) else [])
            if len(seen) == number:
                self.kill()
                self._team.github.failing = [] if effect else [500]

        self._team.github.on_call = kill
        assert self.run(verb) == KILLED
        self._team.github.on_call = str

    def kill(self) -> None:
        assert self._running
        self._running.kill()


@pytest.fixture
def step(team: Cloud, tmp_path: Path) -> Step:
    return Step(team, tmp_path)


def supervised(team: Cloud) -> bool:
    """Return whether every open run will be reconciled again."""
    return not team.ledger.open_ids() or team.github.states.get("supervise.yml") == "active"


@pytest.fixture
def off(team: Cloud) -> None:
    """Switch supervise off, as without open runs."""
    team.github.states["supervise.yml"] = "disabled_manually"


@EFFECT
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.usefixtures("off")
def test_a_submit_killed_while_it_switches_on_leaves_no_run_unattended(
    team: Cloud, step: Step, number: int, effect: bool
) -> None:
    step.run_until("retrain", "PUT actions/workflows/supervise.yml/enable", number, effect=effect)
    assert len(team.ledger.open_ids()) == number - 1
    assert supervised(team)


@pytest.mark.usefixtures("off")
def test_a_submit_killed_after_its_create_continues_and_creates_no_second_job(team: Cloud, step: Step) -> None:
    team.vertex.rule = lambda call: LostReply(step.kill) if call.method is Method.CREATE else None
    assert step.run("retrain") == KILLED
    assert supervised(team)
    assert team.only_run().attempts[0].job is None
    team.vertex.rule = never
    assert step.run("supervise") == 0
    assert [attempt.job is not None for attempt in team.only_run().attempts] == [True]
    assert team.creates() == 1
    assert supervised(team)


@EFFECT
@pytest.mark.parametrize("call", ["POST issues", "PUT actions/workflows/supervise.yml/disable"])
def test_a_killed_reconcile_that_closes_a_run_is_completed_by_the_next(
    team: Cloud, step: Step, call: str, effect: bool
) -> None:
    assert step.run("retrain") == 0
    team.crash()
    step.run_until("supervise", call, 1, effect=effect)
    assert team.ledger.open_ids() == []
    if team.github.states["supervise.yml"] == "active":
        step.run("supervise")
    assert [issue["state"] for issue in team.github.issues] == ["open"]
    assert team.github.states["supervise.yml"] == "disabled_manually"
