"""Cloud Scheduler runs while a run is open, Cloud Run has the image of the commit, and GitHub is the backup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spot.cli.main import main
from spot.core.errors import Exit
from spot.github import workflow
from spot.storage.records import reconciles
from spot.storage.records.reconciles import Home
from tests.machinery.github.step import COMMIT, DIGEST, become_a_step
from tests.machinery.google.google_server import Answer, refusal
from tests.machinery.google.supervisor_job import SupervisorJobs
from tests.workflows.cloud import IMAGES, Cloud, cloud


@pytest.fixture
def team(gs_uri: str, emulator_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud(gs_uri, emulator_url) as world:
        world.supervisor = "cloud-run"
        become_a_step(world, tmp_path, monkeypatch)
        yield world


@pytest.fixture
def jobs(team: Cloud) -> SupervisorJobs:
    name = team.uri.rpartition("/")[2].lower()
    return SupervisorJobs(team.registry, f"projects/acme-ml/locations/us-central1/jobs/spot-{name}")


def in_cloud_run(monkeypatch: pytest.MonkeyPatch) -> int:
    """Reconcile as the Cloud Run job does, and return its exit code."""
    with monkeypatch.context() as patch:
        patch.setenv("CLOUD_RUN_JOB", "spot-churn")
        return main(["reconcile", "--json"])


def test_submit_resumes_the_scheduler_and_the_reconcile_that_closes_the_last_run_pauses_it(
    team: Cloud, jobs: SupervisorJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workflow.main(["retrain"]) == Exit.DONE
    assert (jobs.state, jobs.changes) == ("ENABLED", ["resume"])
    run = team.only_run()
    assert in_cloud_run(monkeypatch) == Exit.DONE  # an open run is no failed execution
    last = reconciles.read(team.ledger.store).runs[run.id]
    assert last.home is Home.CLOUD_RUN
    assert jobs.changes == ["resume"]
    team.crash()
    assert in_cloud_run(monkeypatch) == Exit.FAILED
    assert (jobs.state, jobs.changes) == ("PAUSED", ["resume", "pause"])
    assert in_cloud_run(monkeypatch) == Exit.DONE
    assert jobs.changes == ["resume", "pause"]


def test_a_run_recorded_while_the_last_one_is_closed_keeps_its_schedule(
    team: Cloud, jobs: SupervisorJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow.main(["retrain"])
    later, path = team.only_run(), f"/cloudscheduler/v1/{jobs.path}:pause"
    team.crash()

    def pause(_: object) -> Answer:
        jobs.state = "PAUSED"
        jobs.changes.append("pause")
        team.ledger.create(later)
        return Answer({})

    team.registry.answers[path] = pause
    later = later.__class__(id="20261126-later", spec=later.spec, submitted_at=datetime.now(UTC))
    in_cloud_run(monkeypatch)
    assert jobs.changes == ["resume", "pause", "resume"]
    assert jobs.state == "ENABLED"


@pytest.mark.parametrize("answer", [refusal(403, "denied"), refusal(404, "no job"), refusal(503, "later")])
def test_a_scheduler_that_refuses_loses_no_run_and_is_a_warning(
    team: Cloud, jobs: SupervisorJobs, answer: Answer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    team.registry.answers[f"/cloudscheduler/v1/{jobs.path}"] = answer
    assert workflow.main(["retrain"]) == Exit.DONE
    assert team.only_run().attempts[-1].job
    assert f"Cloud Scheduler job {jobs.path.rpartition('/')[2]} is not resumed: cloudscheduler answered" in caplog.text


def test_the_backup_acts_resumes_the_schedule_and_an_issue_says_that_cloud_run_has_stopped(
    team: Cloud, jobs: SupervisorJobs
) -> None:
    workflow.main(["retrain"])
    run, jobs.state = team.only_run(), "PAUSED"
    before = datetime.now(UTC) - timedelta(hours=6)
    store = team.ledger.store
    store.delete(reconciles.NAME)
    for minutes in (3, 0):
        reconciles.write(store, [run.id], before - timedelta(minutes=minutes), Home.CLOUD_RUN)
    team.preempt()
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert len(team.only_run().attempts) == 2
    assert jobs.changes[-1:] == ["resume"]
    [issue] = team.github.issues
    assert issue["title"] == f"Retraining {run.id}: deadline at risk"
    assert "6.0 h between two reconciles, 5 min allowed" in issue["body"]
    assert "Cloud Run has stopped: this workflow reconciled as its backup. `spot doctor` says why." in issue["body"]


def test_a_run_that_cloud_run_closed_gets_its_issue_though_another_is_open(
    team: Cloud, jobs: SupervisorJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow.main(["retrain"])
    failed = team.only_run()
    team.crash()
    in_cloud_run(monkeypatch)
    monkeypatch.setenv("GITHUB_RUN_ID", "8")
    workflow.main(["retrain"])
    assert jobs.state == "ENABLED"
    assert workflow.main(["supervise"]) == Exit.FAILED
    assert [one["title"] for one in team.github.issues] == [f"Retraining {failed.id} failed"]


def test_late_reconciles_count_at_the_next_submit_and_status_says_so(
    team: Cloud, jobs: SupervisorJobs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    for ago in (660, 440, 220):
        reconciles.write(team.ledger.store, ["20261101-before"], now - timedelta(minutes=ago), Home.CLOUD_RUN)
    assert workflow.main(["retrain"]) == Exit.DONE
    assert jobs.state == "ENABLED"
    assert team.only_run().spec.policy.reconcile_interval == timedelta(minutes=220)
    said = "reconciles came every 3.7 h; configured 5 min"
    assert f"{said}, so that on-demand starts earlier" in (tmp_path / "summary").read_text()
    main(["status"])
    assert said in capsys.readouterr().out


def outputs(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / "output").read_text().splitlines())


def test_both_images_of_a_commit_are_found_or_built_and_the_job_gets_its_own_by_digest(
    team: Cloud, jobs: SupervisorJobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.push(COMMIT, DIGEST)
    assert workflow.main(["find-image"]) == Exit.DONE
    assert outputs(tmp_path)["image"] == f"{IMAGES}/trainer@{DIGEST}"
    assert (outputs(tmp_path)["supervisor_name"], outputs(tmp_path)["supervisor"]) == (f"{IMAGES}/supervisor", "")
    team.push(COMMIT, DIGEST, image="supervisor")
    assert workflow.main(["find-image"]) == Exit.DONE
    monkeypatch.setenv("IMAGE", outputs(tmp_path)["supervisor"])
    for _ in range(2):
        assert workflow.main(["deploy"]) == Exit.DONE
    assert (jobs.image, jobs.changes) == (f"{IMAGES}/supervisor@{DIGEST}", ["deploy"])
    patched = next(json.loads(asked.body) for asked in team.registry.asked if asked.method == "PATCH")
    assert patched["template"]["template"]["serviceAccount"] == "s@acme-ml"  # nothing else changes


@pytest.mark.parametrize(("status", "code"), [(404, Exit.USAGE), (403, Exit.USAGE), (503, Exit.DONE)])
def test_a_job_that_is_missing_fails_the_workflow_and_one_that_does_not_answer_keeps_its_image(
    team: Cloud,
    jobs: SupervisorJobs,
    status: int,
    code: Exit,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    team.registry.answers[f"/run/v2/{jobs.path}"] = refusal(status, "no")
    assert workflow.main(["deploy"]) == code
    assert "the supervisor was not deployed: run answered" in capsys.readouterr().out


def test_with_github_as_its_home_no_supervisor_is_built_or_scheduled(team: Cloud, tmp_path: Path) -> None:
    team.supervisor = "github"
    (tmp_path / "spot.toml").write_text(team.settings)
    team.push(COMMIT, DIGEST)
    assert workflow.main(["find-image"]) == Exit.DONE
    assert (outputs(tmp_path)["supervisor_name"], outputs(tmp_path)["supervisor"]) == ("", "")
    assert workflow.main(["retrain"]) == Exit.DONE
    assert workflow.main(["deploy"]) == Exit.DONE
    assert not [path for path in team.registry.paths() if path.startswith(("/cloudscheduler", "/run"))]
