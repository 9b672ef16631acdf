"""Test promotions through the workflows: by the gate, by the button after a question, and back; and a skipped run."""

from __future__ import annotations

from pathlib import Path

import pytest

from spot.core.clock import SystemClock
from spot.core.evaluation import Evaluation
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.jobs import JobTable
from spot.storage.factory import open_store
from spot.storage.records import champion, completion, evaluation
from tests.machinery.emulators.trainers import TrainerLauncher
from tests.machinery.fixture_task import PACKAGE
from tests.machinery.zygote import Zygote
from tests.workflows.act import Act
from tests.workflows.cloud import AT_ONCE, Cloud

pytestmark = pytest.mark.workflows


def train(team: Cloud, act: Act, trainers: TrainerLauncher, event: str) -> Evaluation:
    """Retrain by the schedule or the button, and return what the trainer measured."""
    submitted = act.run("retrain.yml", event)
    assert submitted.succeeded, submitted.log
    run_id = team.only_run().id
    team.vertex.jobs.advance()
    assert trainers.started[-1].process.wait() == 0, trainers.started[-1].process.errors
    last = act.run("supervise.yml")
    assert last.succeeded, last.log
    models = open_store(f"{team.uri}/models")
    complete = completion.read(models, run_id)
    assert complete
    found = evaluation.read(models, complete)
    assert found
    return found


def champions(team: Cloud) -> list[tuple[str, str]]:
    return [(one.run, one.how) for one in champion.read(open_store(team.uri))[0].promotions]


def test_a_model_that_the_gate_cannot_judge_is_promoted_by_the_button_and_taken_back(
    team: Cloud, act_program: str, tmp_path: Path
) -> None:
    team.machine = ("n2-standard-8", "none")
    act = Act(act_program, tmp_path, team)
    with Zygote({"STORAGE_EMULATOR_HOST": team.storage}) as zygote:
        trainers = TrainerLauncher(zygote, PACKAGE, tmp_path)
        team.vertex.jobs = JobTable(EmulatedCapacity(), trainers, SystemClock(), AT_ONCE)
        first = train(team, act, trainers, "schedule").run
        assert champions(team) == [(first, "gate")]

        skipped = act.run("retrain.yml", "schedule")
        assert skipped.succeeded, skipped.log
        assert f"are those of run {first}, which has succeeded" in skipped.summary
        assert team.ledger.open_ids() == []

        # Far more samples than the task has would be needed to exclude so small a difference.
        with (act.repository / "spot.toml").open("a") as settings:
            settings.write("[gate]\nmargin = 0.00001\n")
        found = train(team, act, trainers, "workflow_dispatch")
    assert found.champion == first
    assert found.judged.paired
    second = found.run
    [question] = team.github.issues
    assert (question["title"], question["state"]) == (f"Retraining {second}: promote its model?", "open")

    button = {"run": second, "back": "false", "reason": "the samples are typical"}
    done = act.run("promote.yml", "workflow_dispatch", inputs=button)
    assert done.succeeded, done.log
    assert f"## Champion {second}" in done.summary
    assert question["state"] == "closed"

    button = {"run": "", "back": "true", "reason": "wrong labels"}
    for again in (False, True):
        back = act.run("promote.yml", "workflow_dispatch", inputs=button, again=again)
        assert back.succeeded, back.log
        assert champions(team) == [(first, "rollback"), (second, "person"), (first, "gate")]
