"""Test that checks are independent, that each failure has a fix, and that unknown is never ok."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from spot.config.settings import Settings
from spot.core.run import Strategy
from spot.doctor.diagnose import diagnose
from spot.doctor.finding import Finding, Status
from spot.google import registry, rest
from tests.machinery.google.google_project import (
    ACCELERATOR_TYPES,
    ACCOUNT,
    BUCKET,
    DIGEST,
    FACTS,
    IMAGE,
    JOB,
    MACHINE_TYPES,
    MANIFEST,
    METRICS,
    OBJECTS,
    PROJECT,
    READERS,
    SERVICE_ACCOUNT,
    SERVICES,
    SETTINGS,
    google_project,
    readers,
    services,
    settings_with,
)
from tests.machinery.google.google_server import (
    DENIED,
    HANG_UP,
    Answer,
    GoogleServer,
    api_is_off,
    refusal,
    service_account_key,
)

ON_PROJECT = "gcloud projects add-iam-policy-binding my-project"
ON_BUCKET = "gcloud storage buckets add-iam-policy-binding gs://my-bucket"
CHECKS = (
    "credentials",
    "project",
    "APIs",
    "bucket",
    "bucket soft delete",
    "bucket access",
    "service account",
    "supervisor",
    "image",
    "image readers",
    "machine us-central1",
    "machine us-east4",
    *(
        f"{kind} quota {region}, {what}"
        for kind in ("spot", "on-demand")
        for what in ("NVIDIA_L4", "vCPUs")
        for region in ("us-central1", "us-east4")
    ),
    "live facts",
)
OF = {
    "project": [PROJECT],
    "APIs": [SERVICES],
    "bucket": [BUCKET],
    "service account": [SERVICE_ACCOUNT],
    "image readers": [READERS],
    "supervisor": [f"/cloudscheduler/v1/{JOB}", OBJECTS],
    "machine": [MACHINE_TYPES, ACCELERATOR_TYPES],
    "spot quota": [f"{METRICS}preemptible_nvidia_l4_gpus", f"{METRICS}preemptible_cpus"],
    "on-demand quota": [f"{METRICS}nvidia_l4_gpus", f"{METRICS}g2_cpus"],
    "live facts": [FACTS],
}
"""The paths that each check requests."""


@pytest.fixture
def google() -> Iterator[GoogleServer]:
    with google_project() as server:
        yield server


def found(check: str, settings: Settings = SETTINGS) -> Finding:
    """Return the finding of a check, after asserting that every check ran."""
    findings = {finding.check: finding for finding in diagnosed(settings)}
    assert len(findings) > 5
    return findings[check]


def diagnosed(settings: Settings = SETTINGS) -> list[Finding]:
    return diagnose(settings)


def statuses(findings: list[Finding]) -> dict[str, Status]:
    return {finding.check: finding.status for finding in findings}


@pytest.mark.usefixtures("google")
def test_without_findings_every_check_is_ok_in_a_fixed_order() -> None:
    findings = diagnosed()
    assert tuple(finding.check for finding in findings) == CHECKS
    assert statuses(findings[1:]) == dict.fromkeys(CHECKS[1:], Status.OK)
    assert {finding.fix for finding in findings[1:]} == {""}


@pytest.mark.usefixtures("google")
def test_calls_without_credentials_say_nothing_about_credentials() -> None:
    assert found("credentials").status is Status.UNKNOWN


@pytest.mark.parametrize("check", OF)
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(DENIED, "The caller does not have permission", id="no permission"),
        pytest.param(refusal(503, "Unavailable"), "answered 503: Unavailable", id="unavailable"),
        pytest.param(HANG_UP, "no answer from", id="unreachable"),
        pytest.param(Answer("<html>"), "without a JSON", id="no json"),
        pytest.param(
            Answer({"items": 1, "services": [1], "consumerQuotaLimits": 2, "bindings": 3}),
            "unexpected answer",
            id="nonsense",
        ),
        pytest.param(api_is_off("x.googleapis.com"), "has not been used", id="api off"),
    ],
)
def test_a_check_that_cannot_be_made_is_unknown_and_stops_no_other(
    google: GoogleServer, check: str, answer: Answer, says: str
) -> None:
    for path in OF[check]:
        google.answers[path] = answer
    findings = diagnosed()
    spoilt = [finding for finding in findings if finding.check.startswith(check)]
    assert [finding.status for finding in spoilt] == [Status.UNKNOWN]
    assert says in spoilt[0].detail
    others = [finding for finding in findings[1:] if finding not in spoilt]
    assert {finding.status for finding in others} == {Status.OK}


@pytest.mark.parametrize(
    ("check", "on", "role"),
    [("project", ON_PROJECT, "roles/browser"), ("bucket", ON_BUCKET, "roles/storage.legacyBucketReader")],
)
def test_a_missing_permission_comes_with_the_command_that_gives_it(
    google: GoogleServer, check: str, on: str, role: str
) -> None:
    google.answers[OF[check][0]] = DENIED
    assert found(check).fix == f"{on} --member=user:YOUR-ADDRESS --role={role}"


def test_an_api_that_is_off_comes_with_the_command_that_turns_it_on(google: GoogleServer) -> None:
    google.answers[MACHINE_TYPES] = api_is_off("compute.googleapis.com")
    assert found("machine").fix == "gcloud services enable compute.googleapis.com --project=123"


def test_a_google_that_cannot_be_reached_leaves_nothing_good(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv(rest.ENDPOINT, f"http://127.0.0.1:{closed.getsockname()[1]}/{{api}}")
        monkeypatch.setenv(registry.ENDPOINT, f"http://127.0.0.1:{closed.getsockname()[1]}")
        findings = diagnosed()
    assert {finding.status for finding in findings} == {Status.UNKNOWN}
    assert all("Connection refused" in finding.detail for finding in findings[1:])


def test_without_credentials_that_alone_fails_and_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(rest.ENDPOINT, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    credentials, *others = diagnosed()
    assert credentials.status is Status.FAILED
    assert credentials.fix == "gcloud auth application-default login"
    assert {(finding.status, finding.fix) for finding in others} == {(Status.UNKNOWN, "")}


def test_credentials_that_were_revoked_fail(
    google: GoogleServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(rest.ENDPOINT)
    google.answers["/token"] = Answer({"error": "invalid_grant", "error_description": "Account deleted"}, status=400)
    path = tmp_path / "key.json"
    path.write_text(service_account_key(ACCOUNT, f"{google.url}/token"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    credentials, *others = diagnosed()
    assert credentials.status is Status.FAILED
    assert "invalid_grant: Account deleted" in credentials.detail
    assert {finding.status for finding in others} == {Status.UNKNOWN}
    assert google.paths() == ["/token"]


def test_credentials_that_work_are_used_everywhere_and_named_where_a_role_is_missing(
    google: GoogleServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(rest.ENDPOINT)
    monkeypatch.setattr(rest, "GOOGLE", f"{google.url}/{{api}}")
    google.answers["/token"] = Answer({"access_token": "secret", "expires_in": 3600, "token_type": "Bearer"})
    google.answers[PROJECT] = DENIED
    path = tmp_path / "key.json"
    path.write_text(service_account_key(ACCOUNT, f"{google.url}/token"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    credentials, project, *others = diagnosed()
    assert (credentials.status, credentials.detail) == (Status.OK, ACCOUNT)
    assert project.fix == f"{ON_PROJECT} --member=serviceAccount:{ACCOUNT} --role=roles/browser"
    assert {finding.status for finding in others} == {Status.OK}
    calls = [asked for asked in google.asked if asked.path != "/token" and not asked.path.startswith("/v2/")]
    assert {asked.headers["authorization"] for asked in calls} == {"Bearer secret"}


def test_a_fix_of_several_findings_is_shown_once(google: GoogleServer) -> None:
    for path in (SERVICES, *OF["spot quota"], *OF["on-demand quota"]):
        google.answers[path] = DENIED
    findings = diagnosed()
    denied = [finding for finding in findings if finding.check in {"APIs", "spot quota", "on-demand quota"}]
    assert [finding.status for finding in denied] == [Status.UNKNOWN] * 3
    assert [finding.fix.endswith("--role=roles/serviceusage.serviceUsageViewer") for finding in denied] == [
        *(True, False, False)
    ]


def test_a_project_that_is_being_deleted_fails(google: GoogleServer) -> None:
    google.answers[PROJECT] = Answer({"name": "projects/123", "state": "DELETE_REQUESTED"})
    project = found("project")
    assert (project.status, project.fix) == (Status.FAILED, "gcloud projects undelete my-project")


def test_a_project_that_does_not_exist_fails(google: GoogleServer) -> None:
    google.answers[PROJECT] = refusal(404, "Not found")
    assert found("project").status is Status.FAILED


def test_apis_that_are_off_fail_with_one_command_for_all(google: GoogleServer) -> None:
    google.answers[SERVICES] = services("aiplatform.googleapis.com", "iam.googleapis.com")
    apis = found("APIs")
    assert apis.status is Status.FAILED
    assert apis.fix == "gcloud services enable aiplatform.googleapis.com iam.googleapis.com --project=my-project"


def test_an_api_that_google_does_not_mention_is_not_enabled(google: GoogleServer) -> None:
    google.answers[SERVICES] = Answer({})
    assert found("APIs").status is Status.FAILED


def test_a_service_account_that_does_not_exist_fails(google: GoogleServer) -> None:
    del google.answers[SERVICE_ACCOUNT]
    account = found("service account")
    assert account.status is Status.FAILED
    assert account.fix == "gcloud iam service-accounts create trainer --project=my-project"


def test_a_disabled_service_account_fails(google: GoogleServer) -> None:
    google.answers[SERVICE_ACCOUNT] = Answer({"email": ACCOUNT, "disabled": True})
    account = found("service account")
    assert (account.status, account.fix) == (Status.FAILED, f"gcloud iam service-accounts enable {ACCOUNT}")


def test_a_service_account_is_looked_for_in_the_project_that_it_belongs_to(google: GoogleServer) -> None:
    found("service account", settings_with(service_account="a@other.iam.gserviceaccount.com"))
    found("service account", settings_with(service_account="123-compute@developer.gserviceaccount.com"))
    asked = [path for path in google.paths() if path.startswith("/iam/")]
    assert asked == [
        "/iam/v1/projects/other/serviceAccounts/a%40other.iam.gserviceaccount.com",
        "/iam/v1/projects/-/serviceAccounts/123-compute%40developer.gserviceaccount.com",
    ]


@pytest.mark.usefixtures("google")
def test_an_image_that_is_not_configured_is_not_checked() -> None:
    checks = [finding.check for finding in diagnosed(settings_with(image=""))]
    assert checks == [check for check in CHECKS if not check.startswith("image")]


@pytest.mark.usefixtures("google")
def test_a_tag_is_shown_with_the_digest_that_it_means() -> None:
    assert found("image").detail == f"{IMAGE}@{DIGEST}"


def test_an_image_by_digest_must_be_there(google: GoogleServer) -> None:
    by_digest = settings_with(image=f"{IMAGE}@{DIGEST}")
    assert found("image", by_digest).status is Status.OK
    del google.answers[f"{MANIFEST}/{DIGEST}"]
    missing = found("image", by_digest)
    assert missing.status is Status.FAILED
    assert missing.fix == f"gcloud artifacts docker images list {IMAGE} --include-tags"


@pytest.mark.parametrize("status", [401, 403, 500])
def test_an_image_that_its_registry_does_not_show_is_unknown(google: GoogleServer, status: int) -> None:
    google.answers[f"{MANIFEST}/v1"] = Answer(status=status)
    assert found("image").status is Status.UNKNOWN


@pytest.mark.usefixtures("google")
def test_an_image_by_tag_elsewhere_fails_and_one_by_digest_is_unknown() -> None:
    by_tag = found("image", settings_with(image="docker.io/library/python:3.11"))
    assert by_tag.status is Status.FAILED
    assert "[cloud] image = REGISTRY/PATH@sha256:DIGEST" in by_tag.fix
    assert found("image", settings_with(image=f"docker.io/library/python@{DIGEST}")).status is Status.UNKNOWN


@pytest.mark.usefixtures("google")
@pytest.mark.parametrize(
    ("strategy", "absent"), [(Strategy.SPOT, "on-demand quota"), (Strategy.ON_DEMAND, "spot quota")]
)
def test_a_quota_that_the_strategy_does_not_use_is_not_checked(strategy: Strategy, absent: str) -> None:
    checks = [finding.check for finding in diagnosed(settings_with("policy", strategy=strategy))]
    assert checks == [check for check in CHECKS if not check.startswith(absent)]


def test_names_cannot_lead_a_question_elsewhere(google: GoogleServer) -> None:
    hostile = settings_with(project="../x?y=", bucket="a/../b", service_account="a/b@c d", image="$(x)")
    assert not {Status.OK, Status.WARNING} & {finding.status for finding in diagnosed(hostile)[1:]}
    assert PROJECT.replace("my-project", "..%2Fx%3Fy%3D") in google.paths()
    assert BUCKET.replace("my-bucket", "a%2F..%2Fb") in google.paths()


@pytest.mark.parametrize(
    ("kinds", "lacking"),
    [
        pytest.param((), "gcp-sa-aiplatform and gcp-sa-aiplatform-cc of Vertex AI may not pull from images", id="none"),
        pytest.param(("",), "gcp-sa-aiplatform-cc of Vertex AI may not pull from images; -cc appears with", id="one"),
    ],
)
def test_vertex_ais_own_accounts_must_be_able_to_pull_the_image(
    kinds: tuple[str, ...], lacking: str, google: GoogleServer
) -> None:
    google.answers[READERS] = readers(*kinds)
    finding = found("image readers")
    assert finding.status is Status.WARNING
    assert finding.detail.startswith(lacking)
    assert finding.fix == "bash infra/bootstrap.sh"


def test_a_laptop_without_a_quota_project_gets_the_command_with_its_project(google: GoogleServer) -> None:
    detail = {
        "reason": "SERVICE_DISABLED",
        "metadata": {"consumer": "projects/764086051850", "service": "compute.googleapis.com"},
    }
    google.answers[MACHINE_TYPES] = Answer({"error": {"message": "is off", "details": [detail]}}, status=403)
    fixes = [one.fix for one in diagnosed() if one.check == "machine"]
    assert fixes == ["gcloud auth application-default set-quota-project my-project"]
