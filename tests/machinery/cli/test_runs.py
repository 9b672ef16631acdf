"""Test that every verb does its task and ends with the right exit code."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from urllib3 import Retry

from spot.core.run import RunState
from spot.emulators.faults import Method
from spot.storage.factory import open_store
from tests.machinery.desk import WEEKLY, Desk, unreachable_url
from tests.machinery.each import each
from tests.machinery.emulators.faults import Answer, on
from tests.machinery.google.google_project import BUCKET, SETTINGS, google_project
from tests.machinery.google.google_server import Answer as Reply
from tests.machinery.trainer.checkpoint.test_restore import commit

ONE, TWO = f"{WEEKLY}-1", f"{WEEKLY}-2"


def test_a_submitted_run_is_recorded_and_has_one_job(desk: Desk) -> None:
    said = desk.spot("submit", "--run", WEEKLY)
    assert said.code == 0
    assert f"spot watch {WEEKLY}" in said.out
    assert "gh workflow enable supervise.yml" in said.out
    assert desk.run(WEEKLY).state is RunState.OPEN
    assert desk.jobs_of(WEEKLY) == 1


def test_without_an_id_a_run_is_named_by_its_day(desk: Desk) -> None:
    said = desk.spot("submit", "--json")
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", said.json["run"])


def test_submitting_the_same_id_again_is_refused_and_creates_nothing(desk: Desk) -> None:
    desk.submit(WEEKLY)
    said = desk.spot("submit", "--run", WEEKLY)
    assert (said.code, said.out) == (2, "")
    assert said.err == f"spot: run {WEEKLY} exists already: spot status {WEEKLY}\n"
    assert desk.jobs_of(WEEKLY) == 1


def test_the_id_of_a_run_that_has_ended_is_not_used_again(desk: Desk) -> None:
    desk.submit(WEEKLY)
    desk.spot("cancel", WEEKLY)
    said = desk.spot("submit", "--run", WEEKLY)
    assert said.code == 2
    assert said.err == f"spot: run {WEEKLY} exists and has ended: choose another --run, or none\n"


@pytest.mark.parametrize("verb", ["reconcile", "watch", "status"])
def test_without_an_open_run_there_is_nothing_to_do(desk: Desk, verb: str) -> None:
    said = desk.spot(verb)
    assert (said.code, said.out.strip()) == (0, "no run is open")
    in_json = desk.spot(verb, "--json")
    assert in_json.code == 0
    assert in_json.json["runs"] == []


@pytest.mark.parametrize("verb", ["reconcile", "watch", "status", "cancel", "logs"])
@pytest.mark.parametrize(
    ("run_id", "says"),
    [
        ("nope", "there is no run nope in gs://"),
        ("No/pe", "'No/pe' is not the id of a run"),
        ("", "'' is not the id of a run"),
    ],
)
def test_an_unknown_run_is_one_line(desk: Desk, verb: str, run_id: str, says: str) -> None:
    said = desk.spot(verb, run_id)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"spot: {says}")
    assert said.err.count("\n") == 1


def test_an_open_run_is_still_open_after_a_pass(desk: Desk) -> None:
    desk.submit(WEEKLY)
    said = desk.spot("reconcile", "--json")
    assert said.code == 75
    assert [one["state"] for one in said.json["runs"]] == ["open"]
    assert desk.spot("status").code == desk.spot("status", WEEKLY).code == 75
    assert desk.jobs_of(WEEKLY) == 1


def test_a_complete_model_ends_the_run(desk: Desk) -> None:
    desk.submit(WEEKLY)
    desk.complete(WEEKLY)
    said = desk.spot("reconcile", WEEKLY, "--json")
    assert (said.code, said.json["runs"][0]["state"]) == (0, "succeeded")
    for again in ("reconcile", "watch", "status", "cancel"):
        assert desk.spot(again, WEEKLY).code == 0


def test_an_error_of_the_trainer_fails_the_run_and_stays_failed(desk: Desk) -> None:
    desk.submit(WEEKLY)
    desk.fail(WEEKLY)
    said = desk.spot("reconcile", "--json")
    assert (said.code, said.json["runs"][0]["state"]) == (1, "failed")
    for again in ("reconcile", "watch", "status", "cancel"):
        assert desk.spot(again, WEEKLY).code == 1


def test_one_failed_run_among_open_ones_is_a_failure(desk: Desk) -> None:
    for run_id in (ONE, TWO):
        desk.submit(run_id)
    desk.fail(TWO)
    said = desk.spot("reconcile", "--json")
    assert (said.code, [one["state"] for one in said.json["runs"]]) == (1, ["open", "failed"])


def test_only_the_named_run_is_reconciled(desk: Desk) -> None:
    for run_id in (ONE, TWO):
        desk.submit(run_id)
        desk.fail(run_id)
    assert desk.spot("reconcile", ONE).code == 1
    assert desk.run(TWO).state is RunState.OPEN


def test_watch_continues_until_the_run_has_succeeded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.submit(WEEKLY)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        desk.checkpoint(WEEKLY, 10 * len(slept), 100)
        if len(slept) == 3:
            desk.complete(WEEKLY)

    monkeypatch.setattr(time, "sleep", sleep)
    said = desk.spot("watch", WEEKLY, "--every", "7", "--json")
    assert (said.code, slept) == (0, [7.0] * 3)
    passes = [json.loads(line)["runs"][0] for line in said.out.splitlines()]
    assert [one["step"] for one in passes] == [0, 10, 20, 30]
    assert [one["state"] for one in passes] == ["open"] * 3 + ["succeeded"]


def test_watch_prints_each_change_once_without_a_terminal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.submit(WEEKLY)
    monkeypatch.setattr(time, "sleep", lambda _: desk.fail(WEEKLY))
    said = desk.spot("watch")
    assert said.code == 1
    first, last = said.out.splitlines()
    assert f" UTC {WEEKLY} open (spot in us-east4, running), 12.0 h to the deadline: " in first
    assert f" UTC {WEEKLY} failed: " in last


def test_watch_of_all_runs_ends_with_the_last_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for run_id in (ONE, TWO):
        desk.submit(run_id)
    left = [TWO, ONE]
    monkeypatch.setattr(time, "sleep", lambda _: desk.complete(left.pop()))
    said = desk.spot("watch", "--json")
    assert said.code == 0
    states = [[one["state"] for one in json.loads(line)["runs"]] for line in said.out.splitlines()]
    assert states == [["open", "open"], ["succeeded", "open"], ["succeeded", "succeeded"]]


def test_a_run_that_another_supervisor_ended_meanwhile_is_read_where_it_lies(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.submit(WEEKLY)

    def elsewhere(_: float) -> None:
        desk.fail(WEEKLY)
        assert desk.spot("reconcile").code == 1

    monkeypatch.setattr(time, "sleep", elsewhere)
    assert desk.spot("watch", WEEKLY).code == 1


def test_cancel_ends_the_job_and_the_run_and_may_be_repeated(desk: Desk) -> None:
    job = desk.submit(WEEKLY)
    desk.checkpoint(WEEKLY, 1, 10)
    said = desk.spot("cancel", WEEKLY, "--json")
    assert (said.code, said.json["runs"][0]["state"]) == (0, "cancelled")
    assert desk.server.jobs.get(job).state.name == "CANCELLED"
    assert f"checkpoints/{WEEKLY}/manifests/0000000001-0001-from-0000000000-0000.json" in desk.objects()
    again = desk.spot("cancel", WEEKLY, "--json")
    assert (again.code, again.json["runs"][0]["waiting_for"]) == (0, "nothing: the run has ended (cancelled)")
    assert desk.spot("status", WEEKLY).code == 1


def test_cancel_of_a_run_whose_model_is_complete_leaves_it_succeeded(desk: Desk) -> None:
    desk.submit(WEEKLY)
    desk.complete(WEEKLY)
    assert desk.spot("cancel", WEEKLY).code == 0
    assert desk.run(WEEKLY).state is RunState.SUCCEEDED


def test_logs_point_to_the_job_of_the_newest_attempt(desk: Desk) -> None:
    job = desk.submit(WEEKLY)
    said = desk.spot("logs", WEEKLY, "--json")
    assert said.code == 0
    assert said.json["attempt"] == "a1"
    assert job.rpartition("/")[2] in said.json["follow"]
    assert said.json == desk.spot("logs", WEEKLY, "--attempt", "a1", "--json").json
    assert said.json["follow"] in desk.spot("logs", WEEKLY).out.splitlines()[-1]


def test_logs_of_a_run_without_a_job_are_not_there_yet(desk: Desk) -> None:
    desk.server.rule = each(Answer(403, "Permission denied."), where=on(Method.CREATE))
    desk.spot("submit", "--run", WEEKLY)
    said = desk.spot("logs", WEEKLY)
    assert said.code == 75
    assert re.search(r"(?m)^logs +none yet$", said.out)


def test_logs_of_an_attempt_that_never_had_a_job_will_never_come(desk: Desk) -> None:
    desk.server.rule = each(Answer(400, "Machine type is not supported."), where=on(Method.CREATE))
    desk.spot("submit", "--run", WEEKLY)
    assert desk.spot("logs", WEEKLY).code == 2


def test_logs_of_an_unknown_attempt_name_those_that_are_known(desk: Desk) -> None:
    desk.submit(WEEKLY)
    said = desk.spot("logs", WEEKLY, "--attempt", "a9")
    assert (said.code, said.err) == (2, f"spot: run {WEEKLY} has no attempt a9: it has a1\n")


def test_a_checkpoint_is_exported_as_a_folder(desk: Desk, tmp_path: Path) -> None:
    desk.submit(WEEKLY)
    missing = desk.spot("export", WEEKLY, str(tmp_path / "out"))
    assert missing.code == 2
    assert missing.err.startswith(f"spot: run {WEEKLY} has no checkpoint: ")
    for step in (10, 20):
        commit(open_store(f"{desk.root}/checkpoints"), step, WEEKLY)
    said = desk.spot("export", WEEKLY, str(tmp_path / "out"), "--step", "10", "--json")
    assert said.code == 0
    assert said.json["step"] == 10
    assert list(said.json["files"]) == [path.name for path in (tmp_path / "out").iterdir()]
    assert f"step 20 of {WEEKLY}, saved by 1 rank," in desk.spot("export", WEEKLY, str(tmp_path / "newest")).out


def test_the_doctor_ends_with_what_it_found(desk: Desk) -> None:
    chosen = {
        "project": SETTINGS.cloud.project,
        "bucket": SETTINGS.cloud.bucket,
        "prefix": SETTINGS.cloud.prefix,
        "service_account": SETTINGS.cloud.service_account,
    }
    desk.settings({f"cloud.{key}": f'"{value}"' for key, value in {**chosen, "image": SETTINGS.cloud.image}.items()})
    with google_project() as google:
        healthy = desk.spot("doctor", "--json")
        assert healthy.code == 0, healthy.out
        google.answers[BUCKET] = Reply(status=404)
        ill = desk.spot("doctor")
        assert ill.code == 2
        assert "\n  fix:   gcloud storage buckets create gs://my-bucket" in ill.out
        google.everywhere = Reply(status=404)
    found = {one["check"]: one for one in healthy.json["findings"]}
    unlike = {check: one["status"] for check, one in found.items() if one["status"] != "ok"}
    assert unlike.keys() <= {"credentials", "driver", "live facts"}, unlike
    assert found["run"]["detail"] == "g2-standard-8 with NVIDIA_L4: 1 rank, 64 samples of a step each"
    assert "R580 or newer" in found["driver"]["detail"]


def test_the_doctor_refuses_a_batch_that_the_ranks_cannot_share(desk: Desk) -> None:
    desk.settings({"machine.count": "3", "training.batch-size": "64"})
    said = desk.spot("doctor")
    assert said.code == 2
    assert "--batch-size 64 cannot be shared evenly by 3 ranks" in said.out


def test_a_doctor_that_can_check_nothing_does_not_say_that_all_is_well(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOOGLEAPIS_ENDPOINT", "REGISTRY_ENDPOINT"):
        monkeypatch.setenv(name, unreachable_url())
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr("spot.google.rest.RETRY", Retry(0))
    assert desk.spot("doctor").code == 75
