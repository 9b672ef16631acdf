"""Test failures around each verb: one clear line, the right exit code, and nothing lost."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from spot.cli import runs
from spot.core.run import RunState
from spot.emulators.faults import LostReply, Method
from spot.supervisor import service, submit, training_status
from tests.machinery.desk import WEEKLY, Desk, unreachable_url
from tests.machinery.each import each
from tests.machinery.emulators.faults import Answer, on

BROKEN = {
    "cut off": (b'{"format": 1, "id": "bad"', "is not the record of a run"),
    "of a future version": (b'{"format": 2}', "has format 2, this program reads up to 1: use a newer version of spot"),
    "not of a run": (b"[]", "is not the record of a run"),
}
broken = pytest.mark.parametrize(("data", "says"), BROKEN.values(), ids=BROKEN.keys())


def test_a_run_that_vertex_ai_refuses_has_failed_at_submit(desk: Desk) -> None:
    desk.server.rule = each(Answer(400, "Machine type is not supported."), where=on(Method.CREATE))
    said = desk.spot("submit", "--run", WEEKLY)
    assert said.code == 1
    assert "Machine type is not supported." in said.out
    assert "spot watch" not in said.out
    assert desk.run(WEEKLY).state is RunState.FAILED


def test_a_submit_without_the_permission_to_create_reports_it_and_keeps_the_run(desk: Desk) -> None:
    desk.server.rule = each(Answer(403, "Permission denied."), where=on(Method.CREATE))
    said = desk.spot("submit", "--run", WEEKLY)
    assert said.code == 2
    assert "Permission denied." in said.out
    assert desk.run(WEEKLY).attempts == ()
    desk.server.rule = lambda _: None
    assert desk.spot("reconcile").code == 75
    assert desk.jobs_of(WEEKLY) == 1


def test_a_create_whose_reply_is_lost_is_found_again_and_not_repeated(desk: Desk) -> None:
    desk.server.rule = each(LostReply(), where=on(Method.CREATE), count=1)
    assert desk.spot("submit", "--run", WEEKLY).code == 0
    assert desk.run(WEEKLY).attempts[0].job
    assert desk.jobs_of(WEEKLY) == 1


def test_a_submit_that_vertex_ai_does_not_answer_keeps_the_run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "GIVE_UP_S", 0.1)
    monkeypatch.setenv("VERTEX_ENDPOINT", unreachable_url())
    said = desk.spot("submit", "--run", WEEKLY, "--json")
    assert said.code == 0
    assert f"cannot look for a1 of run {WEEKLY}" in said.json["problem"]
    assert desk.run(WEEKLY).state is RunState.OPEN


def test_a_submit_that_the_bucket_does_not_answer_says_how_to_repeat_it_safely(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "GIVE_UP_S", 0.1)
    plan = submit.plan_submit

    def planned_before_the_failure(*arguments: Any) -> Any:
        planned = plan(*arguments)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", unreachable_url())
        return planned

    monkeypatch.setattr(runs, "plan_submit", planned_before_the_failure)
    said = desk.spot("submit", "--run", WEEKLY)
    assert (said.code, said.out) == (75, "")
    assert f"with --run {WEEKLY}, which cannot start a second run" in said.err
    assert desk.jobs_of(WEEKLY) == 0


@pytest.mark.parametrize(
    "verb", ["submit", "reconcile", "watch", "status", "cancel x", "logs x", "reconcile x", "watch x"]
)
def test_a_bucket_that_does_not_answer_is_one_line_and_come_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(service, "GIVE_UP_S", 0.1)
    monkeypatch.setattr(submit, "GIVE_UP_S", 0.1)
    monkeypatch.setattr(training_status, "FACTS_S", 0.1)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", unreachable_url())
    said = desk.spot(*verb.split())
    assert (said.code, said.out) == (75, "")
    assert re.fullmatch(r"spot: cannot (read|list) gs://.* \(nothing is lost, try again\)\n", said.err)


def test_a_vertex_ai_that_does_not_answer_leaves_the_run_as_it_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.submit(WEEKLY)
    before = desk.run(WEEKLY)
    monkeypatch.setattr(service, "GIVE_UP_S", 0.1)
    monkeypatch.setenv("VERTEX_ENDPOINT", unreachable_url())
    said = desk.spot("reconcile", "--json")
    assert said.code == 75
    assert "cannot read projects/" in said.json["runs"][0]["problem"]
    assert desk.run(WEEKLY) == before


@broken
def test_a_broken_record_does_not_keep_a_pass_from_the_other_runs(desk: Desk, data: bytes, says: str) -> None:
    desk.put("runs/open/bad.json", data)
    desk.submit(WEEKLY)
    desk.fail(WEEKLY)
    said = desk.spot("reconcile", "--json")
    assert said.code == 1
    weekly, bad = said.json["runs"]
    assert says in bad["problem"]
    assert bad["state"] is None
    assert weekly["state"] == "failed"
    assert desk.spot("reconcile").code == 2
    assert desk.store().read("runs/open/bad.json").data == data


@broken
def test_status_shows_the_other_runs_beside_a_broken_record(desk: Desk, data: bytes, says: str) -> None:
    desk.put("runs/open/bad.json", data)
    desk.submit(WEEKLY)
    said = desk.spot("status")
    assert said.code == 2
    assert re.search(rf"(?m)^{WEEKLY} +0 % .* spot in us-east4", said.out)
    assert said.out.count("bad: ") == 1
    assert says in " ".join(said.out.split())
    assert [one["id"] for one in desk.spot("status", "--json").json["runs"]] == [WEEKLY, "bad"]


@broken
@pytest.mark.parametrize("verb", ["status", "reconcile", "watch", "cancel", "logs"])
def test_a_broken_record_that_is_named_is_one_line(desk: Desk, verb: str, data: bytes, says: str) -> None:
    desk.put("runs/open/bad.json", data)
    said = desk.spot(verb, "bad")
    assert (said.code, said.out) == (2, "")
    assert says in said.err
    assert said.err.count("\n") == 1
    assert desk.store().read("runs/open/bad.json").data == data


def test_a_damaged_completion_is_reported_and_the_run_is_still_shown(desk: Desk) -> None:
    desk.submit(WEEKLY)
    desk.put(f"models/{WEEKLY}/completion.json", b"{")
    said = desk.spot("status", WEEKLY)
    assert said.code == 2
    assert "is not a completion record" in said.out
    assert "spot us-east4" in said.out
    assert "no checkpoint yet" not in said.out, "which is not known"
    assert desk.spot("status", WEEKLY, "--json").json["now"] is None
    assert re.search(rf"(?m)^{WEEKLY} +\? ", desk.spot("status").out)


def test_watch_does_not_wait_for_an_error_that_a_user_must_fix(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    desk.put("runs/open/bad.json", b"{")
    said = desk.spot("watch")
    assert said.code == 2
    assert "bad unknown: " in said.out


def test_a_cancel_that_vertex_ai_does_not_answer_is_recorded_and_done_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.submit(WEEKLY)
    monkeypatch.setattr(service, "GIVE_UP_S", 0.1)
    desk.server.rule = each(Answer(503, "down"))
    assert desk.spot("cancel", WEEKLY).code == 75
    desk.server.rule = lambda _: None
    assert desk.spot("reconcile").code == 1
    assert desk.run(WEEKLY).state is RunState.CANCELLED
