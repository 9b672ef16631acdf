"""Set a project up in the cloud, repeat and repair it, with the real gcloud."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.infra.cloud import Cloud
from tests.infra.cloud_server import served
from tests.infra.scripts import APIS_NEEDED, APIS_OF_CLOUD_RUN, IDS, Project
from tests.infra.world import (
    AGENT,
    BUCKET,
    CI,
    DEPLOYED,
    EMAIL,
    JOB,
    POOL,
    PROVIDER,
    REGISTRY,
    ROLES,
    ROLES_OF_CLOUD_RUN,
    SCHEDULER,
    SECOND_AGENT,
    SOMEBODY,
    SUPERVISOR,
    THEIR_RULE,
    TRAINING,
    WIDER,
    Step,
    World,
    below,
)
from tests.paths import PROJECT

pytestmark = pytest.mark.infra


@pytest.fixture(scope="module")
def after_a_job(world: World, fresh: Step) -> Step:  # noqa: ARG001  # the step before
    """Bootstrap after the first job, which has created the second agent."""
    world.cloud.agents.add(SECOND_AGENT)
    return world.step("bootstrap.sh", *EMAIL)


@pytest.fixture(scope="module")
def repaired(world: World, after_a_job: Step) -> Step:  # noqa: ARG001
    """Bootstrap after a manual change of each kind of resource."""
    cloud = world.cloud
    cloud.services.remove("sts.googleapis.com")
    cloud.buckets[BUCKET]["softDeletePolicy"] = {"retentionDurationSeconds": "604800"}
    cloud.buckets[BUCKET]["lifecycle"]["rule"] = [THEIR_RULE]
    cloud.registries["github-22"]["cleanupPolicies"] = {}
    cloud.pools["github-22"]["state"] = "DELETED"
    cloud.providers["github"]["state"] = "DELETED"
    cloud.providers["github"]["attributeCondition"] = "assertion.repository_owner_id == '11'"
    cloud.custom_roles["github_22"]["includedPermissions"].append("aiplatform.endpoints.predict")
    cloud.policies["acme-ml"]["bindings"] = [
        binding for binding in cloud.policies["acme-ml"]["bindings"] if binding["role"] != "roles/logging.logWriter"
    ]
    for binding in cloud.policies[BUCKET]["bindings"]:
        if TRAINING in binding["members"][0]:
            binding.get("condition", {})["expression"] = below("")
    task = cloud.jobs[JOB]["spec"]["template"]["spec"]["template"]["spec"]
    task["containers"][0]["resources"]["limits"]["memory"] = "128Mi"
    task["containers"][0]["image"] = DEPLOYED
    cloud.schedules[JOB] |= {"schedule": "0 * * * *", "state": "ENABLED"}
    cloud.alerts["1"]["conditions"][1:] = []
    return world.step("bootstrap.sh", *EMAIL)


def test_each_account_gets_its_roles_and_nothing_else(fresh: Step) -> None:
    assert fresh.ended.code == 0, fresh.ended.err
    assert fresh.cloud.roles() == ROLES | ROLES_OF_CLOUD_RUN | {SOMEBODY}


def test_cloud_run_reconciles_once_with_its_own_account_when_the_scheduler_starts_it(fresh: Step) -> None:
    task = fresh.cloud.jobs[JOB]["spec"]["template"]["spec"]["template"]["spec"]
    assert task["serviceAccountName"] == SUPERVISOR
    assert (task["maxRetries"], task["timeoutSeconds"]) == (0, "540")
    assert task["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "512Mi"}
    schedule = fresh.cloud.schedules[JOB]
    assert (schedule["schedule"], schedule["state"]) == ("*/3 * * * *", "PAUSED")
    target = schedule["httpTarget"]
    assert target["oauthToken"]["serviceAccountEmail"] == SCHEDULER
    assert target["uri"] == f"https://run.googleapis.com/v2/projects/acme-ml/locations/us-central1/jobs/{JOB}:run"


def test_an_e_mail_reports_a_failed_or_missing_reconcile_unless_the_schedule_was_paused(fresh: Step) -> None:
    [alert], [channel] = fresh.cloud.alerts.values(), fresh.cloud.channels.values()
    assert channel["labels"] == {"email_address": EMAIL[1]}
    assert alert["notificationChannels"] == [channel["name"]]
    failed, missing = (one["conditionPrometheusQueryLanguage"]["query"] for one in alert["conditions"])
    assert f'job_name="{JOB}",result="failed"' in failed
    assert f'job_name="{JOB}",result="succeeded"}}[15m]' in missing
    assert "unless sum(increase(logging_googleapis_com:user_spot_churn_paused{" in missing
    [metric] = fresh.cloud.metrics.values()
    assert metric["name"] == f"{JOB}-paused"
    assert metric["filter"] == (
        f'protoPayload.methodName:"CloudScheduler.PauseJob" AND protoPayload.resourceName:"/jobs/{JOB}"'
    )


def test_ci_may_call_what_the_client_of_vertex_ai_calls_and_nothing_else(fresh: Step) -> None:
    client = (PROJECT / "src/spot/google/vertex.py").read_text(encoding="utf-8")
    called = set(re.findall(r"\b(cancel|create|get|list|update|delete)_custom_jobs?\b", client))
    role = fresh.cloud.custom_roles["github_22"]
    jobs = [f"aiplatform.customJobs.{verb}" for verb in sorted(called)]
    schedules = [f"cloudscheduler.jobs.{verb}" for verb in ("enable", "get", "pause")]
    assert role["includedPermissions"] == jobs + schedules


def test_github_is_let_in_by_the_numbers_of_one_repository(fresh: Step) -> None:
    provider = fresh.cloud.providers["github"]
    assert provider["attributeCondition"] == "assertion.repository_owner_id == '11' && assertion.repository_id == '22'"
    assert provider["oidc"] == {"issuerUri": "https://token.actions.githubusercontent.com"}
    assert provider["attributeMapping"] == {
        "google.subject": "assertion.repository_id",
        "attribute.repository_id": "assertion.repository_id",
        "attribute.repository_owner_id": "assertion.repository_owner_id",
        "attribute.ref": "assertion.ref",
    }


def test_the_bucket_is_regional_private_and_keeps_nothing_that_was_deleted(fresh: Step) -> None:
    bucket = fresh.cloud.buckets[BUCKET]
    assert bucket["location"] == "US-CENTRAL1"
    assert bucket["iamConfiguration"] == {
        "publicAccessPrevention": "enforced",
        "uniformBucketLevelAccess": {"enabled": True},
    }
    assert bucket["softDeletePolicy"] == {"retentionDurationSeconds": "0"}


def test_only_old_checkpoints_and_stray_uploads_are_deleted_by_themselves(fresh: Step) -> None:
    assert fresh.cloud.buckets[BUCKET]["lifecycle"]["rule"] == [
        {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}},
        {"action": {"type": "Delete"}, "condition": {"age": 60, "matchesPrefix": ["churn/checkpoints/"]}},
    ]


def test_old_images_go_and_the_newest_stay(fresh: Step) -> None:
    registry = fresh.cloud.registries["github-22"]
    assert registry["format"] == "DOCKER"
    assert registry["cleanupPolicyDryRun"] is False
    policies = registry["cleanupPolicies"]
    assert policies["delete-old"]["action"] == "DELETE"
    assert policies["delete-old"]["condition"] == {"tagState": "ANY", "olderThan": "5184000s"}
    assert policies["keep-newest"]["action"] == "KEEP"
    assert policies["keep-newest"]["mostRecentVersions"] == {"keepCount": 300}


def test_the_apis_are_on(fresh: Step) -> None:
    assert fresh.cloud.services == APIS_NEEDED | APIS_OF_CLOUD_RUN


def test_an_account_that_is_not_known_yet_is_waited_for(world: World, fresh: Step) -> None:
    assert fresh.ended.code == 0
    assert (world.project.folder / "sleep-was-called").read_text().split() == ["10"]


def test_at_its_end_it_says_what_to_tell_github(fresh: Step) -> None:
    assert fresh.ended.out.splitlines()[-3:] == [
        f"gh variable set GCP_WORKLOAD_IDENTITY_PROVIDER --body {PROVIDER}",
        f"gh variable set GCP_SERVICE_ACCOUNT --body {CI}",
        "gh variable set GCP_ARTIFACT_REPOSITORY --body us-central1-docker.pkg.dev/acme-ml/github-22",
    ]


def test_a_second_run_changes_nothing_but_lets_the_second_agent_of_vertex_ai_pull_images(
    fresh: Step, after_a_job: Step
) -> None:
    reader = "roles/artifactregistry.reader on images us-central1-docker.pkg.dev/acme-ml/github-22 to serviceAccount:"
    assert fresh.cloud.agents == {AGENT}
    assert f"granted {reader}{AGENT}" in fresh.ended.lines
    assert f"later {reader}{SECOND_AGENT}: run this script again after the first job" in fresh.ended.lines
    assert after_a_job.ended.code == 0, after_a_job.ended.err
    assert after_a_job.changes == [f"POST {REGISTRY}:setIamPolicy"]
    others = [line for line in after_a_job.ended.lines if not line.startswith("exists ")]
    assert others == [f"granted {reader}{SECOND_AGENT}"]


def test_a_changed_resource_is_repaired_and_no_other_is_touched(after_a_job: Step, repaired: Step) -> None:
    assert repaired.ended.code == 0, repaired.ended.err
    assert repaired.changes == [
        "POST /v1/projects/acme-ml/services/sts.googleapis.com:enable",
        f"PATCH /storage/v1/b/{BUCKET}",
        f"PATCH {REGISTRY}",
        f"POST {POOL}:undelete",
        f"POST {POOL}/providers/github:undelete",
        f"PATCH {POOL}/providers/github",
        "PATCH /v1/projects/acme-ml/roles/github_22",
        f"PUT /apis/run.googleapis.com/v1/namespaces/acme-ml/jobs/{JOB}",
        f"PATCH /v1/projects/acme-ml/locations/us-central1/jobs/{JOB}",
        "POST /v1/projects/acme-ml:setIamPolicy",
        f"PUT /storage/v1/b/{BUCKET}/iam",
        "PATCH /v3/projects/acme-ml/alertPolicies/1",
    ]
    assert repaired.cloud.roles() == after_a_job.cloud.roles() | {WIDER}
    assert repaired.cloud.custom_roles == after_a_job.cloud.custom_roles
    assert repaired.cloud.registries == after_a_job.cloud.registries
    assert repaired.cloud.alerts == after_a_job.cloud.alerts
    assert repaired.cloud.schedules[JOB] == after_a_job.cloud.schedules[JOB] | {"state": "ENABLED"}
    [container] = repaired.cloud.jobs[JOB]["spec"]["template"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == DEPLOYED
    assert container["resources"]["limits"]["memory"] == "512Mi"
    assert repaired.cloud.providers == after_a_job.cloud.providers
    assert repaired.cloud.buckets[BUCKET]["softDeletePolicy"] == {"retentionDurationSeconds": "0"}


def test_lifecycle_rules_of_others_stay(after_a_job: Step, repaired: Step) -> None:
    ours = after_a_job.cloud.buckets[BUCKET]["lifecycle"]["rule"]
    assert repaired.cloud.buckets[BUCKET]["lifecycle"]["rule"] == [THEIR_RULE, *ours]


@pytest.mark.usefixtures("gcloud")
def test_a_bucket_of_another_owner_stops_the_script_with_googles_message(tmp_path: Path) -> None:
    cloud = Cloud(
        services=APIS_NEEDED | APIS_OF_CLOUD_RUN,
        accounts={name: {"email": name} for name in (TRAINING, CI, SUPERVISOR, SCHEDULER)},
        taken={BUCKET},
    )
    with served(cloud) as url:
        ended = Project.at(tmp_path, cloud_url=url).run("bootstrap.sh", *IDS)
    assert ended.code == 1
    assert "this command failed, run the script again to continue: gcloud storage buckets create" in ended.err
    assert "The requested bucket name is not available." in ended.err
    assert [str(call) for call in cloud.calls if call.changes] == ["POST /storage/v1/b"]
