"""Test the steps of the workflows in this process: no run stays open with supervise.yml switched off."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spot.core.errors import Exit
from spot.core.evaluation import Evaluation
from spot.core.run import Attempt, Outcome, Provisioning, Run, RunState
from spot.emulators.faults import Call, Method
from spot.github import workflow
from spot.storage.base import ABSENT
from spot.storage.factory import open_store
from spot.storage.records import champion
from spot.supervisor.submit import SubmitError, SubmitOptions
from tests.machinery.emulators import faults
from tests.machinery.github.step import COMMIT, DIGEST, become_a_step
from tests.machinery.google.google_server import Answer
from tests.machinery.promotion.measured import alone, evaluation, measured
from tests.machinery.samples import ended, run
from tests.workflows.cloud import IMAGES, Cloud, cloud

OFF, ON = "disabled_manually", "active"


@pytest.fixture
def team(gs_uri: str, emulator_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A cloud in which nothing has happened yet; this process is a step of a workflow."""
    with cloud(gs_uri, emulator_url) as world:
        become_a_step(world, tmp_path, monkeypatch)
        yield world


def theirs(team: Cloud, *attempts: Attempt, **changes: Any) -> Run:
    """A run that the settings of the team allow."""
    place = {"project": "acme-ml", "root": team.uri, "service_account": "training@acme-ml.iam.gserviceaccount.com"}
    return run(*attempts, **{"image": f"{IMAGES}/trainer@{DIGEST}", **place, **changes})


def supervised(team: Cloud) -> bool:
    """Whether every open run will be looked at again."""
    return not team.ledger.open_ids() or team.github.states.get("supervise.yml", ON) == ON


def run_id(team: Cloud) -> str:
    """The id of the run that this run of the workflow submits."""
    return f"{team.github.created['7']:%Y%m%d-%H%M%S}-gh7"


def test_empty_inputs_override_nothing() -> None:
    assert workflow.submit_options({}) == SubmitOptions(arguments=[])
    empty = dict.fromkeys(("IMAGE", "STRATEGY", "DEADLINE_HOURS", "BUDGET_USD", "REGIONS", "ARGUMENTS", "DRY_RUN"), "")
    assert workflow.submit_options(empty) == SubmitOptions(arguments=[])
    assert workflow.submit_options({"STRATEGY": "as in spot.toml", "DRY_RUN": "false"}) == SubmitOptions(arguments=[])


def test_a_dry_run_asks_github_nothing_and_submits_nothing(
    team: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRY_RUN", "true")
    assert workflow.main(["retrain"]) == Exit.DONE
    assert (team.github.tokens, team.ledger.open_ids(), team.creates()) == (set(), [], 0)
    summary = (tmp_path / "summary").read_text()
    assert summary.startswith("## Plan of a run")
    assert '"strategy": "SPOT"' in summary


def test_a_run_bears_the_date_of_its_workflow_run_however_late_it_is_run_again(team: Cloud) -> None:
    team.github.created["7"] = datetime.now(UTC) - timedelta(days=29)
    assert workflow.main(["retrain"]) == Exit.DONE
    team.crash()
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert team.closed() == [f"runs/closed/{team.github.created['7']:%Y/%m}/{run_id(team)}.json"]
    assert workflow.main(["retrain"]) == Exit.DONE
    assert team.creates() == 1


@pytest.mark.parametrize("event", ["schedule", "workflow_dispatch"])
def test_only_a_schedule_skips_a_run_that_would_train_the_same_model(
    team: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    monkeypatch.setenv("GITHUB_EVENT_NAME", "schedule")
    assert workflow.main(["retrain"]) == Exit.DONE
    team.complete()
    assert workflow.main(["supervise"]) == Exit.DONE
    first = run_id(team)
    (tmp_path / "summary").unlink()
    monkeypatch.setenv("GITHUB_RUN_ID", "8")
    monkeypatch.setenv("GITHUB_EVENT_NAME", event)
    team.github.created["8"] = datetime.now(UTC)
    assert workflow.main(["retrain"]) == Exit.DONE
    is_skipped = event == "schedule"
    assert team.creates() == (1 if is_skipped else 2)
    line = f"No run was submitted: data, sources of the image, configuration and machine are those of run {first}"
    assert (line in (tmp_path / "summary").read_text()) == is_skipped
    assert supervised(team)


def test_a_schedule_trains_again_after_a_change_of_the_sources(
    team: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_EVENT_NAME", "schedule")
    assert workflow.main(["retrain"]) == Exit.DONE
    team.complete()
    assert workflow.main(["supervise"]) == Exit.DONE
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "model.py").write_text("LAYERS = 3\n")
    monkeypatch.setenv("GITHUB_RUN_ID", "8")
    team.github.created["8"] = datetime.now(UTC)
    assert workflow.main(["retrain"]) == Exit.DONE
    assert team.creates() == 2


def test_a_registry_that_does_not_answer_is_a_warning_and_promotes_anyway(
    team: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spot.toml").write_text(f'{team.settings}[registry]\nmodel_id = "churn"\n')
    assert workflow.main(["retrain"]) == Exit.DONE
    team.complete(alone(run=run_id(team)))
    assert workflow.main(["supervise"]) == Exit.DONE  # the emulator has no models
    assert "::warning::the model registry does not show the champion: cannot upload" in capsys.readouterr().out
    assert champion.read(team.ledger.store)[0].run == run_id(team)


def test_a_closed_run_leaves_its_report_in_the_bucket(team: Cloud) -> None:
    assert workflow.main(["retrain"]) == Exit.DONE
    team.crash()
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert b"<html" in open_store(team.uri).read(f"reports/{run_id(team)}/report.html").data


@pytest.mark.parametrize("ended", [False, True])
def test_a_submit_that_is_run_again_begins_nothing_shows_the_run_and_is_green(
    team: Cloud, tmp_path: Path, ended: bool
) -> None:
    assert workflow.main(["retrain"]) == Exit.DONE
    assert team.only_run().id == run_id(team)
    if ended:
        team.crash()
        assert workflow.main(["supervise"]) == Exit.FAILED
    (tmp_path / "summary").unlink()
    assert workflow.main(["retrain"]) == Exit.DONE
    assert team.creates() == 1
    assert supervised(team)
    said = (tmp_path / "summary").read_text()
    assert "does not submit it again" in said
    assert ("❌ failed" if ended else "⏳ open") in said


def test_what_was_submitted_is_shown_even_where_github_fails_afterwards(team: Cloud, tmp_path: Path) -> None:
    def fails(_: str) -> None:
        team.github.failing = [403] if team.ledger.open_ids() else []

    team.github.on_call = fails
    assert workflow.main(["retrain"]) == Exit.FAILED
    assert f"## Run {run_id(team)}" in (tmp_path / "summary").read_text()


def test_inputs_are_values_even_if_they_look_like_flags() -> None:
    given = {"STRATEGY": "spot", "REGIONS": "--force", "DEADLINE_HOURS": " 6.5 ", "ARGUMENTS": "--a 'b c'"}
    assert workflow.submit_options(given) == SubmitOptions(
        strategy="spot", regions="--force", deadline_hours=6.5, arguments=["--a", "b c"]
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DEADLINE_HOURS", "soon", "deadline_hours is 'soon': expected a number"),
        ("BUDGET_USD", "-1", "policy.budget_usd is -1.0"),
        ("STRATEGY", "cheap", "policy.strategy is 'cheap'"),
        ("REGIONS", "--force", "cloud.regions[0] is '--force'"),
    ],
)
def test_a_wrong_input_is_an_error_with_its_value(
    team: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    assert workflow.main(["retrain"]) == Exit.USAGE
    assert says in capsys.readouterr().out
    assert team.ledger.open_ids() == []


def test_training_arguments_that_no_shell_would_read_are_refused() -> None:
    with pytest.raises(SubmitError, match="have No closing quotation: quote as in a shell"):
        workflow.submit_options({"ARGUMENTS": "--note 'it"})


def test_a_submit_switches_on_before_the_run_exists_and_after_it_is_there(team: Cloud) -> None:
    open_at_call = list[bool]()
    team.github.on_call = lambda _: open_at_call.append(bool(team.ledger.open_ids()))
    assert workflow.main(["retrain"]) == Exit.DONE
    assert team.github.calls[1:] == ["PUT actions/workflows/supervise.yml/enable"] * 2
    assert open_at_call == [False, False, True]


def test_a_submit_that_github_keeps_from_switching_on_submits_nothing(
    team: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    team.github.failing = [403]
    assert workflow.main(["retrain"]) == Exit.FAILED
    assert team.ledger.open_ids() == []
    assert "::error::GitHub answered 403 to GET" in capsys.readouterr().out


def test_a_submit_beside_a_pass_that_switches_off_ends_with_it_on(team: Cloud) -> None:
    def pass_ends(call: Call) -> None:
        if call.method is Method.CREATE:  # the run is in the ledger; the pass had looked before
            team.github.states["supervise.yml"] = OFF

    team.vertex.rule = pass_ends
    assert workflow.main(["retrain"]) == Exit.DONE
    assert team.creates() == 1
    assert supervised(team)


def test_a_pass_beside_a_submit_that_recorded_its_run_ends_with_it_on(team: Cloud) -> None:
    def submits(call: str) -> None:
        if call.endswith("disable"):  # the pass has seen no run
            team.ledger.create(theirs(team))

    team.github.on_call = submits
    assert workflow.main(["supervise"]) == Exit.DONE
    assert team.github.calls == [f"PUT actions/workflows/supervise.yml/{what}" for what in ("disable", "enable")]
    assert supervised(team)


@pytest.mark.parametrize("call", range(5))
def test_no_submit_leaves_a_run_unattended_if_github_refuses_a_call(team: Cloud, call: int) -> None:
    team.github.states["supervise.yml"] = OFF
    team.github.failing = [*[0] * call, 403]
    workflow.main(["retrain"])
    assert supervised(team)


@pytest.mark.parametrize("call", range(5))
def test_a_failure_is_reported_once_even_if_github_refuses_a_call(team: Cloud, call: int) -> None:
    assert workflow.main(["retrain"]) == Exit.DONE
    team.crash()
    team.github.failing = [*[0] * call, 403]
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert (team.github.states["supervise.yml"] == ON) or len(team.github.issues) == 1
    for _ in range(2):
        team.github.failing = []
        workflow.main(["supervise"])
    assert [issue["state"] for issue in team.github.issues] == ["open"]
    assert team.github.states["supervise.yml"] == OFF


def test_a_failure_is_reported_at_once_while_another_run_continues(team: Cloud) -> None:
    assert workflow.main(["retrain"]) == Exit.DONE
    going_on = team.only_run().id
    team.ledger.create(theirs(team, ended(Outcome.TRAINING_FAILED), id="20261124-failed"))
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert [issue["title"] for issue in team.github.issues] == ["Retraining 20261124-failed failed"]
    assert team.ledger.open_ids() == [going_on]
    assert team.github.states["supervise.yml"] == ON


def test_a_run_that_fails_after_months_is_reported_too(team: Cloud) -> None:
    team.ledger.create(theirs(team, ended(Outcome.TRAINING_FAILED), id="20250101-old"))
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert [issue["title"] for issue in team.github.issues] == ["Retraining 20250101-old failed"]


def test_without_issues_in_the_repository_the_pass_is_red_and_all_is_switched_off(team: Cloud) -> None:
    team.ledger.create(theirs(team, ended(Outcome.TRAINING_FAILED)))
    team.github.failing = [0, 410]
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert (team.github.issues, team.github.states["supervise.yml"]) == ([], OFF)


def test_a_pass_that_knows_nothing_switches_nothing_off(
    team: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("spot.supervisor.service.GIVE_UP_S", 0.2)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    assert workflow.main(["supervise"]) == Exit.AGAIN
    assert team.github.calls == []
    assert "nothing is lost" in capsys.readouterr().out


def test_a_run_whose_job_cannot_be_read_stays_supervised_and_is_a_warning(
    team: Cloud, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert workflow.main(["retrain"]) == Exit.DONE
    team.vertex.rule = lambda _: faults.Answer(400, "something odd")
    capsys.readouterr()
    assert workflow.main(["supervise"]) == Exit.DONE
    assert supervised(team)
    assert "::warning::" in capsys.readouterr().out
    assert "⚠️" in (tmp_path / "summary").read_text()


def test_a_broken_record_fails_each_pass_and_keeps_the_others_going(
    team: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    assert workflow.main(["retrain"]) == Exit.DONE
    team.checkpoint(400)
    team.preempt()
    team.break_record("20261124-broken")
    assert workflow.main(["supervise"]) == Exit.USAGE
    assert team.creates() == 2
    assert supervised(team)
    assert "20261124-broken" in capsys.readouterr().out


HOSTILE = {
    "deep": b"[" * 200_000,
    "huge": b'{"format": 1, "id": ' + b"9" * 400 + b"}",
    "infinite": b'{"format": 1, "spec": 1e999}',
    "newer": b'{"format": 7}',
}


def test_hostile_objects_of_other_runs_stop_no_supervision_and_no_alarm(
    team: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(team.uri)
    for name, data in HOSTILE.items():
        store.write(f"runs/open/20261124-{name}.json", data, if_generation=0)
        store.write(f"runs/closed/{datetime.now(UTC):%Y/%m}/junk-{name}.json", data, if_generation=0)
    store.write("runs/open/no such id.json", b"", if_generation=0)
    team.ledger.create(theirs(team, ended(Outcome.TRAINING_FAILED), id="20261125-failed"))
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert [issue["title"] for issue in team.github.issues] == ["Retraining 20261125-failed failed"]
    said = capsys.readouterr().out
    assert all(f"20261124-{name}" in said and f"junk-{name}.json" in said for name in HOSTILE)


def test_junk_among_the_closed_runs_does_not_keep_supervise_on(team: Cloud) -> None:
    month = f"{datetime.now(UTC):%Y/%m}"
    for name, data in HOSTILE.items():
        open_store(team.uri).write(f"runs/closed/{month}/{name}.json", data, if_generation=0)
    assert workflow.main(["supervise"]) == Exit.DONE
    assert team.github.states["supervise.yml"] == OFF


def test_a_run_of_another_project_gets_no_job_and_waits_for_a_person(
    team: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = {"project": "foreign", "root": "gs://foreign/x", "image": f"ghcr.io/foreign/x@{DIGEST}"}
    for name, value in foreign.items():
        team.ledger.create(theirs(team, id=f"20261125-{name}", **{name: value}))
    assert workflow.main(["supervise"]) == Exit.USAGE
    assert team.creates() == 0
    assert capsys.readouterr().out.count("no request is sent for it") == len(foreign)
    assert supervised(team)


def test_a_cancelled_run_is_no_failure(team: Cloud) -> None:
    assert workflow.main(["retrain"]) == Exit.DONE
    run_id = team.only_run().id
    team.cancel()
    assert workflow.main(["supervise"]) == Exit.DONE
    assert team.ledger.find(run_id).run.state is RunState.CANCELLED
    assert team.github.issues == []


def test_a_reconcile_with_a_cancelled_run_and_one_that_needs_a_user_fails(team: Cloud) -> None:
    assert workflow.main(["retrain"]) == Exit.DONE
    team.cancel()
    team.break_record("20261124-broken")
    assert workflow.main(["supervise"]) == Exit.USAGE


def test_a_run_that_fails_at_its_submit_is_red_there_and_has_its_issue_with_the_next_pass(
    team: Cloud, tmp_path: Path
) -> None:
    team.vertex.rule = lambda call: faults.Answer(400, "no such machine") if call.method is Method.CREATE else None
    assert workflow.main(["retrain"]) == Exit.FAILED
    assert "no such machine" in (tmp_path / "summary").read_text()
    assert team.github.states["supervise.yml"] == ON
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert [issue["state"] for issue in team.github.issues] == ["open"]
    assert team.github.states["supervise.yml"] == OFF


def test_the_image_of_a_commit_is_named_found_or_to_be_built(team: Cloud, tmp_path: Path) -> None:
    assert workflow.main(["find-image"]) == Exit.DONE
    said = (tmp_path / "output").read_text().splitlines()
    assert said[:4] == ["host=us-central1-docker.pkg.dev", f"name={IMAGES}/trainer", "image=", "build=cuda"]
    team.push(COMMIT, DIGEST)
    assert workflow.main(["find-image"]) == Exit.DONE
    assert f"image={IMAGES}/trainer@{DIGEST}" in (tmp_path / "output").read_text()


def test_a_machine_without_a_gpu_gets_the_small_image(team: Cloud, tmp_path: Path) -> None:
    (tmp_path / "spot.toml").write_text(team.settings.replace("NVIDIA_L4", "none").replace("g2-", "n1-"))
    assert workflow.main(["find-image"]) == Exit.DONE
    assert "build=cpu" in (tmp_path / "output").read_text()


def test_a_registry_that_does_not_say_stops_the_workflow(team: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    team.registry.everywhere = Answer(status=403)
    assert workflow.main(["find-image"]) == Exit.USAGE
    assert "::error::us-central1-docker.pkg.dev answered 403" in capsys.readouterr().out


def test_a_message_cannot_begin_a_command_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    workflow._annotate("error", "100 %\n::set-output name=x::y")
    assert capsys.readouterr().out == "::error::100 %25%0A::set-output name=x::y\n"
    record = logging.LogRecord("spot", logging.INFO, "", 0, "%s", ("no\n::add-mask::x\n##[error]\x1b[2J",), None)
    assert workflow._Formatter("%(message)s").format(record) == "no\n: :add-mask: :x\n# #[error]\ufffd[2J"


def test_a_failed_run_is_resumed_once_also_when_the_workflow_runs_again(
    team: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow.retrain()
    failed = team.only_run().id
    team.checkpoint(400)
    team.crash()
    assert workflow.supervise() == Exit.FAILED
    assert f"retrain.yml -f resume={failed}`" in team.github.issues[0]["body"]
    monkeypatch.setenv("RESUME", f" {failed} ")
    assert workflow.retrain() == Exit.DONE
    new = team.only_run()
    assert (new.id, new.attempts[0].from_step) == (f"{failed}-r1", 400)
    assert new.parent
    assert new.parent.run == failed
    assert workflow.retrain() == Exit.DONE
    assert team.only_run() == new
    assert supervised(team)


def test_a_resume_with_other_flags_or_of_no_run_is_refused(team: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESUME", "../champion")
    assert workflow.main(["retrain"]) == Exit.USAGE
    monkeypatch.delenv("RESUME")
    workflow.retrain()
    failed = team.only_run().id
    team.crash()
    workflow.supervise()
    monkeypatch.setenv("RESUME", failed)
    monkeypatch.setenv("ARGUMENTS", "--epochs 7")
    with pytest.raises(SubmitError, match=f"the flags --epochs 7 cannot change: a resume keeps those of run {failed}"):
        workflow.retrain()
    assert team.ledger.open_ids() == []


def test_a_late_run_fails_one_pass_has_one_issue_with_the_numbers_and_goes_on(
    team: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted = datetime.now(UTC) - timedelta(hours=25)
    late = theirs(team, id="20261125-late", submitted_at=submitted, deadline=submitted + timedelta(hours=24))
    team.ledger.create(late)
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert "::error::20261125-late: late: the model is not complete 60 min past the deadline" in capsys.readouterr().out
    assert [one["title"] for one in team.github.issues] == ["Retraining 20261125-late: deadline at risk"]
    assert "60 min past the deadline" in team.github.issues[0]["body"]
    assert "25.0 h between two reconciles, 15 min allowed" in team.github.issues[0]["body"]
    found = team.ledger.read("20261125-late").run
    assert found.attempts[-1].provisioning is Provisioning.ON_DEMAND
    assert workflow.main(["supervise"]) == Exit.DONE
    assert len(team.github.issues) == 1
    assert team.ledger.read("20261125-late").run.alarms == found.alarms


def test_a_report_of_a_late_run_that_was_lost_is_made_by_the_next_pass(team: Cloud) -> None:
    submitted = datetime.now(UTC) - timedelta(hours=25)
    late = theirs(team, id="20261125-late", submitted_at=submitted, deadline=submitted + timedelta(hours=24))
    team.ledger.create(late)
    team.github.failing = [500] * 4
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert team.github.issues == []
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert len(team.github.issues) == 1


def test_a_manifest_of_a_newer_format_waits_for_a_person_in_every_pass(team: Cloud) -> None:
    team.ledger.create(theirs(team, id="20261125-newer", deadline=datetime.now(UTC) + timedelta(hours=24)))
    name = "checkpoints/20261125-newer/manifests/0000000007-0001-from-0000000000-0000.json"
    open_store(team.uri).write(name, b'{"format": 3}', if_generation=ABSENT)
    assert workflow.main(["supervise"]) == Exit.USAGE
    assert workflow.main(["supervise"]) == Exit.USAGE


def promoted(monkeypatch: pytest.MonkeyPatch, **inputs: str) -> int:
    """Start promote.yml with these inputs."""
    for name in ("RUN", "BACK", "REASON"):
        monkeypatch.setenv(name, inputs.get(name, "false" if name == "BACK" else ""))
    monkeypatch.setenv("GITHUB_ACTOR", "ann")
    return workflow.main(["promote"])


def champions(team: Cloud) -> list[tuple[str, str]]:
    return [(one.run, one.how) for one in champion.read(open_store(team.uri))[0].promotions]


def test_a_run_that_asks_opens_an_issue_and_its_promotion_closes_it(
    team: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def retrained(number: str, found: Evaluation) -> None:
        monkeypatch.setenv("GITHUB_RUN_ID", number)
        assert workflow.main(["retrain"]) == Exit.DONE
        team.complete(replace(found, run=team.only_run().id))
        assert workflow.main(["supervise"]) == Exit.DONE

    team.github.created |= dict.fromkeys("78", datetime.now(UTC))
    first = run_id(team)
    retrained("7", alone())
    assert champions(team) == [(first, "gate")]
    assert f"## Champion {first}" in (tmp_path / "summary").read_text()
    second = first.replace("gh7", "gh8")
    retrained("8", evaluation(measured(2, 2, 100), champion=first))
    [question] = team.github.issues
    assert question["title"] == f"Retraining {second}: promote its model?"
    assert f"::warning::{second}: promote its model? too few samples" in capsys.readouterr().out
    assert champions(team) == [(first, "gate")]

    assert promoted(monkeypatch, RUN=second, REASON="the samples are typical") == Exit.DONE
    assert champions(team) == [(second, "person"), (first, "gate")]
    assert question["state"] == "closed"
    said = (tmp_path / "summary").read_text()
    assert f"## Champion {second}" in said
    assert "line [0.9, 0.5]" in said

    for _ in range(2):  # a workflow run may be run again
        assert promoted(monkeypatch, BACK="true", REASON="wrong labels") == Exit.DONE
        assert champions(team) == [(first, "rollback"), (second, "person"), (first, "gate")]


@pytest.mark.parametrize("inputs", [{}, {"REASON": "x"}, {"RUN": "20261124-a"}, {"BACK": "true"}])
def test_a_promotion_needs_a_run_and_a_reason(
    team: Cloud, monkeypatch: pytest.MonkeyPatch, inputs: dict[str, str]
) -> None:
    assert promoted(monkeypatch, **inputs) == Exit.USAGE
    assert champions(team) == []


def test_a_damaged_record_of_the_champion_hides_no_failed_run(team: Cloud) -> None:
    assert workflow.main(["retrain"]) == Exit.DONE
    team.crash()
    open_store(team.uri).write("champion.json", b"{}", if_generation=ABSENT)
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert [one["state"] for one in team.github.issues] == ["open"]
