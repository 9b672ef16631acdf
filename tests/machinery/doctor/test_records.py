"""A run that no schedule reconciles is found, and the last reconcile is shown with its home."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from spot.doctor import records
from spot.doctor.finding import Finding, Status
from spot.google.rest import GoogleApi
from spot.storage.records import reconciles
from spot.storage.records.reconciles import Home
from tests.machinery.google.google_project import JOB, OBJECTS, SETTINGS, google_project, settings_with
from tests.machinery.google.google_server import Answer, GoogleServer, refusal
from tests.machinery.google.supervisor_job import SupervisorJobs
from tests.machinery.samples import after
from tests.machinery.storage.memory import MemoryStore

OPEN = Answer({"items": [{"name": "churn/runs/open/r1.json"}]})
RECORD = f"{OBJECTS}/{quote('churn/supervisor.json', safe='')}"
LAST = "last reconcile 2026-11-24 00:03 UTC (cloud-run)"


@pytest.fixture
def google() -> Iterator[GoogleServer]:
    with google_project() as server:
        store = MemoryStore()
        reconciles.write(store, ["r1"], after(minutes=3), Home.CLOUD_RUN)
        server.answers[RECORD] = Answer(json.loads(store.read(reconciles.NAME).data))
        yield server


def found(home: str = "cloud-run") -> Finding:
    [finding] = records.supervisor(GoogleApi.open(), settings_with(supervisor=home))
    return finding


@pytest.mark.parametrize("state", ["PAUSED", "DISABLED"])
def test_an_open_run_with_a_paused_schedule_is_a_failure_with_its_fix(google: GoogleServer, state: str) -> None:
    SupervisorJobs(google, JOB, state=state)
    google.answers[OBJECTS] = OPEN
    finding = found()
    assert finding.status is Status.FAILED
    assert finding.detail == f"a run is open and Cloud Scheduler job spot-churn is {state}; {LAST}"
    assert finding.fix == "gcloud scheduler jobs resume spot-churn --location=us-central1 --project=my-project"


def test_a_missing_schedule_is_a_failure_even_without_a_run(google: GoogleServer) -> None:
    google.answers[f"/cloudscheduler/v1/{JOB}"] = refusal(404, "Job not found.")
    assert (found().status, found().fix) == (Status.FAILED, "bash infra/bootstrap.sh")


def test_a_schedule_that_follows_the_runs_is_right(google: GoogleServer) -> None:
    assert found().detail == f"Cloud Scheduler job spot-churn is PAUSED; {LAST}"
    SupervisorJobs(google, JOB, state="ENABLED")
    google.answers[OBJECTS] = OPEN
    assert found().status is Status.OK


def test_githubs_schedule_needs_no_scheduler(google: GoogleServer) -> None:
    assert found("github").detail == f"GitHub's schedule; {LAST}"
    assert not [path for path in google.paths() if "cloudscheduler" in path]


def test_a_damaged_record_of_reconciles_is_no_reconcile(google: GoogleServer) -> None:
    google.answers[RECORD] = Answer({"format": 1, "runs": 7})
    assert found().detail.endswith("no reconcile is recorded")
    assert SETTINGS.cloud.supervisor_job
