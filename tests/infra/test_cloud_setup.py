"""Set a project up in the cloud, repeat, repair and tear down, with the real gcloud."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.infra.cloud import Cloud
from tests.infra.cloud_server import served
from tests.infra.scripts import APIS_NEEDED, APIS_OF_CLOUD_RUN, IDS, Ended, Project
from tests.paths import PROJECT

pytestmark = pytest.mark.infra

CI = "github-22@acme-ml.iam.gserviceaccount.com"
TRAINING = "training@acme-ml.iam.gserviceaccount.com"
SUPERVISOR = "supervisor-22@acme-ml.iam.gserviceaccount.com"
SCHEDULER = "scheduler-22@acme-ml.iam.gserviceaccount.com"
EMAIL = ("--alert-email", "ml@acme.example")
JOB = "spot-churn"
NEIGHBOUR = f"my-{TRAINING}"
AGENT, SECOND_AGENT = (f"service-4711@gcp-sa-aiplatform{kind}.iam.gserviceaccount.com" for kind in ("", "-cc"))
BUCKET = "acme-ml-training"
WORKFLOWS = (
    "principalSet://iam.googleapis.com/projects/4711/locations/global/workloadIdentityPools/github-22"
    "/attribute.repository_id/22"
)
POOL = "/v1/projects/acme-ml/locations/global/workloadIdentityPools/github-22"
PROVIDER = "projects/4711/locations/global/workloadIdentityPools/github-22/providers/github"
REGISTRY = "/v1/projects/acme-ml/locations/us-central1/repositories/github-22"
JOBS_ROLE = "projects/acme-ml/roles/github_22"
OURS = f"projects/_/buckets/{BUCKET}/objects/churn/"


def below(*names: str) -> str:
    """Return the condition of a role that is limited to objects below these names."""
    return " || ".join(f'resource.name.startsWith("{OURS}{name}")' for name in names)


ROLES = {
    ("acme-ml", JOBS_ROLE, f"serviceAccount:{CI}", ""),
    ("acme-ml", "roles/logging.logWriter", f"serviceAccount:{TRAINING}", ""),
    (BUCKET, "roles/storage.objectViewer", f"serviceAccount:{CI}", ""),
    (BUCKET, "roles/storage.objectUser", f"serviceAccount:{CI}", below("")),
    (BUCKET, "roles/storage.objectViewer", f"serviceAccount:{TRAINING}", ""),
    (
        BUCKET,
        "roles/storage.objectUser",
        f"serviceAccount:{TRAINING}",
        below("checkpoints/", "models/", "tensorboard/"),
    ),
    ("github-22", "roles/artifactregistry.writer", f"serviceAccount:{CI}", ""),
    (TRAINING, "roles/iam.serviceAccountUser", f"serviceAccount:{CI}", ""),
    (CI, "roles/iam.workloadIdentityUser", WORKFLOWS, ""),
    ("github-22", "roles/artifactregistry.reader", f"serviceAccount:{AGENT}", ""),
}
ROLES_OF_CLOUD_RUN = {
    ("acme-ml", JOBS_ROLE, f"serviceAccount:{SUPERVISOR}", ""),
    (BUCKET, "roles/storage.objectViewer", f"serviceAccount:{SUPERVISOR}", ""),
    (BUCKET, "roles/storage.objectUser", f"serviceAccount:{SUPERVISOR}", below("")),
    (TRAINING, "roles/iam.serviceAccountUser", f"serviceAccount:{SUPERVISOR}", ""),
    (SUPERVISOR, "roles/iam.serviceAccountUser", f"serviceAccount:{CI}", ""),
    (JOB, "roles/run.developer", f"serviceAccount:{CI}", ""),
    (JOB, "roles/run.invoker", f"serviceAccount:{SCHEDULER}", ""),
}
WIDER = (BUCKET, "roles/storage.objectUser", f"serviceAccount:{TRAINING}", below(""))
"""A manual change of a role's condition."""
THEIR_RULE = {"action": {"type": "Delete"}, "condition": {"age": 5, "matchesPrefix": ["tmp/"]}}
THEIRS = f"{BUCKET}/others/a"
MADE_BY = "Made by infra/bootstrap.sh for the GitHub repository {}"
DEPLOYED = f"us-central1-docker.pkg.dev/acme-ml/github-22/supervisor@sha256:{7:064d}"
SOMEBODY = ("acme-ml", "roles/viewer", "user:somebody@example.com", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Hold the result of a script, its changes, and the cloud afterwards."""

    ended: Ended
    changes: list[str]
    cloud: Cloud


@dataclass(frozen=True, slots=True)
class World:
    project: Project
    cloud: Cloud

    def step(self, script: str, *arguments: str) -> Step:
        self.cloud.calls.clear()
        ended = self.project.run(script, *arguments, *IDS)
        changes = [str(call) for call in self.cloud.calls if call.changes]
        return Step(ended=ended, changes=changes, cloud=copy.deepcopy(self.cloud))


@pytest.fixture(scope="module")
def world(gcloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:  # noqa: ARG001
    cloud = Cloud(accounts={NEIGHBOUR: {"email": NEIGHBOUR}})
    cloud.policies["acme-ml"] = {"bindings": [{"role": SOMEBODY[1], "members": [SOMEBODY[2]]}], "etag": "AAAA"}
    with served(cloud) as url:
        yield World(Project.at(tmp_path_factory.mktemp("project"), cloud_url=url), cloud)


@pytest.fixture(scope="module")
def fresh(world: World) -> Step:
    """Bootstrap while a new account has not propagated."""
    world.project.program("sleep")
    world.cloud.not_yet_known = 1
    return world.step("bootstrap.sh", *EMAIL)


@pytest.fixture(scope="module")
def after_a_job(world: World, fresh: Step) -> Step:  # noqa: ARG001  # the step before
    """Bootstrap after the first job, which has created the second agent."""
    world.cloud.agents.add(SECOND_AGENT)
    return world.step("bootstrap.sh", *EMAIL)


@pytest.fixture(scope="module")
def again(world: World, after_a_job: Step) -> Step:  # noqa: ARG001
    return world.step("bootstrap.sh", *EMAIL)


@pytest.fixture(scope="module")
def repaired(world: World, again: Step) -> Step:  # noqa: ARG001
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


@pytest.fixture(scope="module")
def refused(world: World, repaired: Step) -> Step:  # noqa: ARG001
    world.cloud.objects += [f"{BUCKET}/churn/runs/open/r1.json", f"{BUCKET}/churn/models/r0/model", THEIRS]
    return world.step("teardown.sh", "--yes", "--delete-data")


@pytest.fixture(scope="module")
def shared(world: World, refused: Step) -> Step:  # noqa: ARG001
    """Tear down with a shared training account and foreign objects in the bucket."""
    world.cloud.objects.remove(f"{BUCKET}/churn/runs/open/r1.json")
    world.cloud.accounts[TRAINING]["description"] = MADE_BY.format(33)
    return world.step("teardown.sh", "--yes", "--delete-data")


@pytest.fixture(scope="module")
def gone(world: World, shared: Step) -> Step:  # noqa: ARG001
    world.cloud.objects[:] = [f"{BUCKET}/churn/models/r0/model"]
    world.cloud.accounts[TRAINING]["description"] = MADE_BY.format(22)
    return world.step("teardown.sh", "--yes", "--delete-data")


@pytest.fixture(scope="module")
def still_gone(world: World, gone: Step, refused: Step) -> Step:  # noqa: ARG001
    """Tear down again, with the bucket and its objects restored."""
    world.cloud.buckets.update(copy.deepcopy(refused.cloud.buckets))
    world.cloud.objects[:] = [f"{BUCKET}/churn/models/r0/model"]
    return world.step("teardown.sh", "--yes")


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


def test_vertex_ai_may_pull_images_and_its_second_agent_after_the_first_job(fresh: Step, after_a_job: Step) -> None:
    reader = "roles/artifactregistry.reader on images us-central1-docker.pkg.dev/acme-ml/github-22 to serviceAccount:"
    assert fresh.cloud.agents == {AGENT}
    assert f"granted {reader}{AGENT}" in fresh.ended.lines
    assert f"later {reader}{SECOND_AGENT}: run this script again after the first job" in fresh.ended.lines
    assert after_a_job.ended.code == 0, after_a_job.ended.err
    assert after_a_job.changes == [f"POST {REGISTRY}:setIamPolicy"]
    assert f"granted {reader}{SECOND_AGENT}" in after_a_job.ended.lines


def test_a_second_run_changes_nothing(again: Step) -> None:
    assert again.ended.code == 0, again.ended.err
    assert again.changes == []
    assert {line.split()[0] for line in again.ended.lines} == {"exists"}


def test_a_changed_resource_is_repaired_and_no_other_is_touched(again: Step, repaired: Step) -> None:
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
    assert repaired.cloud.roles() == again.cloud.roles() | {WIDER}
    assert repaired.cloud.custom_roles == again.cloud.custom_roles
    assert repaired.cloud.registries == again.cloud.registries
    assert repaired.cloud.alerts == again.cloud.alerts
    assert repaired.cloud.schedules[JOB] == again.cloud.schedules[JOB] | {"state": "ENABLED"}
    [container] = repaired.cloud.jobs[JOB]["spec"]["template"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == DEPLOYED
    assert container["resources"]["limits"]["memory"] == "512Mi"
    assert repaired.cloud.providers == again.cloud.providers
    assert repaired.cloud.buckets[BUCKET]["softDeletePolicy"] == {"retentionDurationSeconds": "0"}


def test_lifecycle_rules_of_others_stay(again: Step, repaired: Step) -> None:
    ours = again.cloud.buckets[BUCKET]["lifecycle"]["rule"]
    assert repaired.cloud.buckets[BUCKET]["lifecycle"]["rule"] == [THEIR_RULE, *ours]


def test_nothing_is_taken_down_while_a_run_is_open(refused: Step) -> None:
    assert refused.ended.code == 2
    assert refused.changes == []
    assert "run r1 is open: run spot cancel r1" in refused.ended.err


def test_taking_down_first_locks_github_out(shared: Step) -> None:
    assert shared.ended.code == 0, shared.ended.err
    assert shared.changes[0] == f"DELETE {POOL}"


def test_an_account_that_another_repository_made_stays_with_its_roles(shared: Step) -> None:
    assert shared.cloud.accounts.keys() == {TRAINING, NEIGHBOUR}
    kept = {role for role in ROLES if role[2] == f"serviceAccount:{TRAINING}"}
    assert shared.cloud.roles() == {SOMEBODY, WIDER} | kept
    assert f"kept account {TRAINING}: created for another repository or by hand" in shared.ended.lines


def test_delete_data_deletes_below_the_prefix_alone(shared: Step) -> None:
    assert shared.cloud.objects == [THEIRS]
    assert f"kept bucket gs://{BUCKET}: other objects remain, such as others/a" in shared.ended.lines


def test_no_account_no_role_and_no_image_of_ours_is_left(gone: Step) -> None:
    assert gone.ended.code == 0, gone.ended.err
    assert gone.cloud.accounts.keys() == {NEIGHBOUR}
    assert gone.cloud.roles() == {SOMEBODY}
    assert gone.cloud.registries == {}
    left = gone.cloud
    assert [left.jobs, left.schedules, left.alerts, left.channels, left.metrics] == [{}] * 5


def test_a_bucket_that_is_empty_then_is_deleted_too(gone: Step) -> None:
    assert gone.cloud.buckets == {}
    assert gone.cloud.objects == []


def test_a_second_teardown_changes_nothing(still_gone: Step) -> None:
    assert still_gone.ended.code == 0, still_gone.ended.err
    assert still_gone.changes == []
    assert [line.split(":")[0] for line in still_gone.ended.lines] == [
        "gone identity pool github-22",
        f"gone schedule {JOB}",
        f"gone job {JOB}",
        f"gone alert policies {JOB}",
        f"gone alert channels {JOB}",
        f"gone metric {JOB}-paused",
        f"gone account {CI}",
        f"gone account {TRAINING}",
        f"gone account {SUPERVISOR}",
        f"gone account {SCHEDULER}",
        "gone images us-central1-docker.pkg.dev/acme-ml/github-22",
        "kept bucket gs",
        "kept APIs",
        "kept role github_22",
    ]


def test_what_is_stored_stays_without_delete_data(still_gone: Step) -> None:
    assert still_gone.cloud.objects == [f"{BUCKET}/churn/models/r0/model"]
    assert still_gone.cloud.buckets.keys() == {BUCKET}


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
