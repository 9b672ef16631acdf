"""Test the verbs on models, through a reconcile that promotes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from spot.core.evaluation import Evaluation
from spot.core.run import RunState
from spot.storage.base import ABSENT
from spot.storage.factory import open_store
from spot.storage.records.champion import NAME
from spot.storage.records.ledger import Ledger
from tests.machinery.desk import Desk
from tests.machinery.emulators.idle import finish as end_trainer
from tests.machinery.promotion.measured import evaluation, measured
from tests.machinery.promotion.trained import better, finish
from tests.machinery.samples import T0
from tests.machinery.samples import run as a_run

TODAY = f"{datetime.now(UTC):%Y%m%d}"
A, B, C = (f"{TODAY}-{name}" for name in "abc")


def train(desk: Desk, run_id: str, found: Evaluation | None) -> list[str]:
    """Submit a run, complete it, reconcile it, and return the actions of the last reconcile."""
    job = desk.submit(run_id)
    finish(open_store(f"{desk.root}/models"), found, run_id)
    end_trainer(desk.server.jobs, job)
    said = desk.spot("reconcile", run_id, "--json")
    assert said.code == 0, said.err
    return [made["action"] for made in said.json["runs"][0]["actions"]]


@pytest.fixture
def trained(desk: Desk) -> Desk:
    """A is the first champion, B takes its place, C is worse."""
    assert train(desk, A, better(A, None))[-2:] == ["close as succeeded", "promote"]
    assert train(desk, B, better(B, A))[-1] == "promote"
    worse = evaluation(measured(2, 20, 1000), run=C, champion=B)
    assert train(desk, C, worse)[-1] == "keep"
    return desk


def test_the_champion_is_the_newest_better_model(trained: Desk) -> None:
    found = trained.spot("champion", "--json").json
    assert found["run"] == B
    assert [(one["run"], one["how"], one["score"]) for one in found["promotions"]] == [
        (B, "gate", 0.509),
        (A, "gate", 0.9),
    ]
    text = trained.spot("champion").out
    assert "gain +0.018" in text
    assert f"{trained.root}/models/{B}" in text


def test_models_are_listed_with_score_verdict_and_cost(trained: Desk) -> None:
    found = trained.spot("models", "--json").json
    assert [(one["run"], one["score"], one["verdict"], one["is_champion"]) for one in found["runs"]] == [
        (C, 0.491, "keep", False),
        (B, 0.509, "promote", True),
        (A, 0.9, "promote", False),
    ]
    lines = trained.spot("models").out.splitlines()
    assert "accuracy 0.491" in lines[1]
    assert "keep" in lines[1]
    assert "since 20" in lines[2]
    assert "from 20" in lines[3]


def test_the_score_is_part_of_the_status(trained: Desk) -> None:
    assert "accuracy 0.491 on 1000 samples" in trained.spot("status", C).out
    assert trained.spot("status", C, "--json").json["now"]["evaluation"]["measurements"][0]["score"] == 0.491


def test_the_report_has_a_row_for_each_measurement(trained: Desk) -> None:
    for arguments in ((), ("--markdown",)):
        text = trained.spot("report", C, *arguments).out
        assert "-0.018" in text
        assert "-0.02578 to -0.01015" in text
    assert trained.spot("report", C, "--json").json["evaluation"]["champion"] == B
    page = open_store(trained.root).read(f"reports/{C}/report.html").data
    assert b"Score on the held-out samples" in page


def test_a_rollback_brings_back_the_model_before_and_a_promotion_any(trained: Desk) -> None:
    assert trained.spot("rollback", "--reason", "wrong labels", "--json").json["run"] == A
    assert trained.spot("promote", C, "--reason", "a demonstration", "--json").json["run"] == C
    text = trained.spot("rollback", "--to", B, "--reason", "back to work").out
    assert text.splitlines()[0].split() == ["champion", B]
    found = trained.spot("champion", "--json").json["promotions"]
    assert [(one["run"], one["how"], one["reason"]) for one in found[:3]] == [
        (B, "rollback", "back to work"),
        (C, "person", "a demonstration"),
        (A, "rollback", "wrong labels"),
    ]


def test_a_rollback_to_a_run_that_was_never_champion_is_refused(trained: Desk) -> None:
    said = trained.spot("rollback", "--to", C, "--reason", "a mistake")
    assert (said.code, said.out) == (2, "")
    assert f"{C} was never the champion" in said.err


def test_a_person_must_say_why(desk: Desk) -> None:
    said = desk.spot("rollback")
    assert said.code == 2
    assert "--reason" in said.err


def test_without_a_champion_the_verbs_say_so(desk: Desk) -> None:
    assert desk.spot("champion").out.startswith("no model is in use yet")
    assert desk.spot("champion", "--json").json == {"schema_version": 1, "run": None, "promotions": []}
    assert desk.spot("models").out.startswith("no run submitted since 20")
    assert "there was no champion before" in desk.spot("rollback", "--reason", "x").err


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.OPEN])
def test_a_run_that_did_not_succeed_is_not_promoted(desk: Desk, state: RunState) -> None:
    ledger = Ledger(desk.store())
    record = ledger.create(a_run(id=A, root=desk.root))
    ledger.write(record, a_run(id=A, root=desk.root, state=state, ended_at=T0 if state is RunState.FAILED else None))
    said = desk.spot("promote", A, "--reason", "hope")
    assert said.code == 2
    assert f"run {A} is {state}" in said.err
    assert f"there is no run {B}" in desk.spot("promote", B, "--reason", "hope").err


def test_a_damaged_record_of_the_champion_needs_a_person_and_loses_no_decision(desk: Desk) -> None:
    written = desk.store().write(NAME, b"{}", if_generation=ABSENT)
    job = desk.submit(A)
    finish(open_store(f"{desk.root}/models"), better(A, None), A)
    end_trainer(desk.server.jobs, job)
    said = desk.spot("reconcile", "--json")
    assert said.code == 2
    assert "champion.json is not a record of promotions" in said.json["runs"][0]["problem"]
    desk.store().delete(NAME)
    assert written
    assert desk.spot("reconcile", "--json").json["runs"][0]["actions"][-1]["action"] == "promote"
    assert desk.spot("champion", "--json").json["run"] == A


def test_runs_that_measure_nothing_are_not_decided_until_there_is_a_champion(desk: Desk) -> None:
    assert train(desk, A, None) == ["close as succeeded"]
    assert desk.spot("promote", A, "--reason", "the first", "--json").json["run"] == A
    assert train(desk, B, None)[-1] == "ask"
