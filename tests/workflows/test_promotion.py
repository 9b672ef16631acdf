"""Test promotions through the workflows: by the gate, by the button after a question, and back; and a skipped run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spot.core.evaluation import Evaluation
from spot.storage.factory import open_store
from spot.storage.records import champion
from tests.machinery.promotion.measured import alone, evaluation, measured
from tests.workflows.act import Act
from tests.workflows.cloud import Cloud

pytestmark = pytest.mark.workflows


def retrain(team: Cloud, act: Act, found: Evaluation, event: str) -> str:
    """Retrain by the schedule or the button, and return the run."""
    submitted = act.run("retrain.yml", event)
    assert submitted.succeeded, submitted.log
    run_id = team.only_run().id
    team.complete(replace(found, run=run_id))
    last = act.run("supervise.yml")
    assert last.succeeded, last.log
    return run_id


def champions(team: Cloud) -> list[tuple[str, str]]:
    return [(one.run, one.how) for one in champion.read(open_store(team.uri))[0].promotions]


def test_a_model_that_the_gate_cannot_judge_is_promoted_by_the_button_and_taken_back(team: Cloud, act: Act) -> None:
    first = retrain(team, act, alone(), "schedule")
    assert champions(team) == [(first, "gate")]

    skipped = act.run("retrain.yml", "schedule")
    assert skipped.succeeded, skipped.log
    assert f"are those of run {first}, which has succeeded" in skipped.summary
    assert team.ledger.open_ids() == []

    second = retrain(team, act, evaluation(measured(2, 2, 100), champion=first), "workflow_dispatch")
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
