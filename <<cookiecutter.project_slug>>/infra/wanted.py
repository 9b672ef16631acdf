"""Compare the cloud with the settings of this project; the scripts apply the differences with gcloud."""

import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spot.core.errors import SpotError

if TYPE_CHECKING:
    from spot.config.settings import Settings

LEAST_DAYS = 60
KEPT_IMAGES = 300
"""Versions to keep. A push creates about three: index, image and attestation.

An open run may use an old image, which this number keeps until a hundred newer images exist.
"""
UPLOAD_DAYS = 7
TITLE = "Objects by name"
"""Of a condition. Google compares it when a role is revoked."""
ISSUER = "https://token.actions.githubusercontent.com"
MAPPING = {
    "google.subject": "assertion.repository_id",  # a subject has at most 127 bytes, too few for `sub` with a branch
    "attribute.repository_id": "assertion.repository_id",
    "attribute.repository_owner_id": "assertion.repository_owner_id",
    "attribute.ref": "assertion.ref",
}

Json = Mapping[str, Any]


def load(path: str) -> "Settings":
    """Return the settings. Most questions need none, and the imports take half a second."""
    from spot.config.load import load as read

    return read(Path(path))


def settings(path: str) -> list[str]:
    """Return project, region, bucket, prefix, training account, and the job of Cloud Run or `github`."""
    cloud = load(path).cloud
    account = re.fullmatch(
        r"[a-z][a-z0-9-]{4,28}[a-z0-9]@([a-z0-9-]+)\.iam\.gserviceaccount\.com", cloud.service_account
    )
    if account is None or account[1] != cloud.project:
        raise SpotError(
            f'cloud.service_account is "{cloud.service_account}": expected an account of {cloud.project} '
            f"with 6 to 30 characters before the @, or no such key"
        )
    job = cloud.supervisor_job.name if cloud.supervisor_job else "github"
    return [cloud.project, cloud.regions[0], cloud.bucket, cloud.prefix, cloud.service_account, job]


def permissions(path: str) -> list[str]:
    """Return what the clients in src/spot/google call: on training jobs, and on models where they are registered."""
    calls = [f"customJobs.{verb}" for verb in ("cancel", "create", "get", "list")]
    found = load(path)
    if found.registry.model_id != "none":
        calls += [f"models.{verb}" for verb in ("get", "list", "update", "upload")]
    called = [f"aiplatform.{one}" for one in calls]
    if found.cloud.supervisor_job:  # Cloud Scheduler grants roles on projects only
        called += [f"cloudscheduler.jobs.{verb}" for verb in ("enable", "get", "pause")]
    return [",".join(called)]


def days(found: "Settings") -> int:
    """Return the age that a checkpoint of an open run can reach, with a margin for late runs."""
    return max(LEAST_DAYS, 2 * math.ceil(found.policy.deadline_hours / 24))


def lifecycle(prefix: str, age_days: int, present: Sequence[Json]) -> list[Json]:
    """Return the present rules with the project's rules added, in place of their older versions."""
    ours: list[Json] = [
        {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": UPLOAD_DAYS}},
        {"action": {"type": "Delete"}, "condition": {"age": age_days, "matchesPrefix": [f"{prefix}/checkpoints/"]}},
    ]
    keys = [_key(rule) for rule in ours]
    return [rule for rule in present if _key(rule) not in keys] + ours


def _key(rule: Json) -> tuple[object, object]:
    return rule["action"]["type"], rule["condition"].get("matchesPrefix")


def bucket(path: str, rules_file: str, listed: list[Json]) -> list[str]:
    """Return `absent`, or the flags of the necessary update. Write `rules_file`."""
    settings_found = load(path)
    cloud = settings_found.cloud
    found = listed[0] if listed else {}
    present = found.get("lifecycle", {}).get("rule", [])
    rules = lifecycle(cloud.prefix, days(settings_found), present)
    Path(rules_file).write_text(json.dumps({"rule": rules}), encoding="utf-8")
    if not listed:
        return ["absent"]
    location = str(found["location"]).lower()
    if location not in cloud.regions:
        raise SpotError(
            f"gs://{cloud.bucket} is in {location} and cannot be moved: set another cloud.bucket, "
            f"or add {location} to cloud.regions if it is a region"
        )
    access = found.get("iamConfiguration", {})
    wrong = {
        "--uniform-bucket-level-access": not access.get("uniformBucketLevelAccess", {}).get("enabled", False),
        "--public-access-prevention": access.get("publicAccessPrevention") != "enforced",
        "--clear-soft-delete": int(found.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0)) > 0,
        f"--lifecycle-file={rules_file}": any(rule not in present for rule in rules),
    }
    return [flag for flag, is_wrong in wrong.items() if is_wrong]


def cleanup(path: str, policy_file: str, described: Json) -> list[str]:
    """Return `differs`, or nothing. Write `policy_file`."""
    seconds = days(load(path)) * 86400
    old, newest = {"tagState": "any", "olderThan": f"{seconds}s"}, {"keepCount": KEPT_IMAGES}
    policies: list[dict[str, Any]] = [
        {"name": "delete-old", "action": {"type": "Delete"}, "condition": old},
        {"name": "keep-newest", "action": {"type": "Keep"}, "mostRecentVersions": newest},
    ]
    Path(policy_file).write_text(json.dumps(policies), encoding="utf-8")
    found = described.get("cleanupPolicies", {})
    same = {name: _policy(policy) for name, policy in found.items()} == {
        policy["name"]: _policy({**policy, "action": policy["action"]["type"]}) for policy in policies
    }
    return [] if same and not described.get("cleanupPolicyDryRun", False) else ["differs"]


def _policy(found: Json) -> tuple[object, ...]:
    """Return the policy in comparable form: Google answers in upper case, with fractions of seconds."""
    condition = found.get("condition") or {}
    others = {key: value for key, value in condition.items() if key not in ("tagState", "olderThan")}
    return (
        found["action"].upper(),
        condition.get("tagState", "").upper(),
        float(condition.get("olderThan", "0s").removesuffix("s")),
        others,
        found.get("mostRecentVersions"),
    )


def provider_flags(repository: str, owner: str) -> list[str]:
    """Return the flags of a provider that admits only this repository, by its permanent id."""
    mapping = ",".join(f"{key}={value}" for key, value in MAPPING.items())
    return [
        f"--issuer-uri={ISSUER}",
        f"--attribute-mapping={mapping}",
        f"--attribute-condition={_condition(repository, owner)}",
    ]


def _condition(repository: str, owner: str) -> str:
    return f"assertion.repository_owner_id == '{owner}' && assertion.repository_id == '{repository}'"


def provider(repository: str, owner: str, listed: list[Json]) -> list[str]:
    """Return the state of the provider: `absent`, `deleted`, `differs`, or nothing if it is right."""
    if not listed:
        return ["absent"]
    [found] = listed
    if found.get("state") == "DELETED":
        return ["deleted"]
    same = (
        found.get("oidc", {}) == {"issuerUri": ISSUER}
        and found.get("attributeMapping") == MAPPING
        and found.get("attributeCondition") == _condition(repository, owner)
        and not found.get("disabled", False)
    )
    return [] if same else ["differs"]


def role(permissions: str, described: Json) -> list[str]:
    """Return `differs`, or nothing."""
    return [] if sorted(described.get("includedPermissions", ())) == permissions.split(",") else ["differs"]


def job(name: str, account: str, listed: list[Json]) -> list[str]:
    """Return the state of the Cloud Run job: `absent`, `differs`, or nothing if it is right."""
    for found in listed:
        if found["metadata"]["name"] == name:
            task = found["spec"]["template"]["spec"]["template"]["spec"]
            is_limited = (task.get("maxRetries"), int(task.get("timeoutSeconds", 0))) == (0, 540)
            memory = task["containers"][0].get("resources", {}).get("limits", {}).get("memory")
            same = is_limited and memory == "512Mi" and task.get("serviceAccountName") == account
            return [] if same else ["differs"]
    return ["absent"]


def schedule(name: str, cron: str, uri: str, account: str, listed: list[Json]) -> list[str]:
    """Return the state of the Cloud Scheduler job, whether it is paused or not."""
    for found in listed:
        if found["name"].endswith(f"/jobs/{name}"):
            target = found.get("httpTarget", {})
            present = found["schedule"], target.get("uri"), target.get("oauthToken", {}).get("serviceAccountEmail")
            return [] if present == (cron, uri, account) else ["differs"]
    return ["absent"]


def alert(name: str, channel: str, policy_file: str, listed: list[Json]) -> list[str]:
    """Return `absent`, the id of a policy that differs, or nothing. Write `policy_file`."""
    metric = "run_googleapis_com:job_completed_execution_count"
    executions = f'{metric}{{monitored_resource="cloud_run_job",job_name="{name}"'
    paused = f"logging_googleapis_com:user_{re.sub('[^a-z0-9]', '_', name)}_paused"
    failed = f'sum(increase({executions},result="failed"}}[5m])) > 0'
    missing = (
        f'sum(increase({executions},result="succeeded"}}[1h])) > 0'
        f' unless sum(increase({executions},result="succeeded"}}[15m])) > 0'
        f' unless sum(increase({paused}{{monitored_resource="cloud_scheduler_job"}}[1h])) > 0'
    )
    policy: dict[str, Any] = {
        "displayName": name,
        "combiner": "OR",
        "conditions": [
            {
                "displayName": title,
                "conditionPrometheusQueryLanguage": {"query": query, "duration": "0s", "evaluationInterval": "60s"},
            }
            for title, query in (("a reconcile failed", failed), ("no reconcile for 15 minutes", missing))
        ],
        "notificationChannels": [channel],
        "documentation": {"content": "See docs/operations.md: A run does not move.", "mimeType": "text/markdown"},
    }
    Path(policy_file).write_text(json.dumps(policy), encoding="utf-8")
    for found in listed:
        if found["displayName"] == name:
            return [] if _has(found, policy) else [str(found["name"])]
    return ["absent"]


def _has(found: Any, wanted: Any) -> bool:
    """Return whether `found` has everything that is wanted; Google adds names and times."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_has(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_has, found, wanted))
    return bool(found == wanted)


def condition(bucket_name: str, below: str) -> list[str]:
    """Return the condition of a role as gcloud takes it: objects below these names only, `None` for `any`."""
    expression = _expression(bucket_name, below)
    return [f"expression={expression},title={TITLE}" if expression else "None"]


def _expression(bucket_name: str, below: str) -> str:
    names = [] if below == "any" else below.split(",")
    return " || ".join(f'resource.name.startsWith("projects/_/buckets/{bucket_name}/objects/{name}")' for name in names)


def granted(role_name: str, member: str, bucket_name: str, below: str, policy: Json) -> list[str]:
    """Return `granted`, or nothing. A role with another condition does not count."""
    holds = any(
        binding["role"] == role_name
        and member in binding["members"]
        and binding.get("condition", {}).get("expression", "") == _expression(bucket_name, below)
        for binding in policy.get("bindings", [])
    )
    return ["granted"] if holds else []


ANSWERS: Mapping[str, Callable[..., list[str]]] = {
    one.__name__.replace("_", "-"): one
    for one in (
        *(settings, permissions, bucket, cleanup, provider_flags, provider, role),
        *(job, schedule, alert, condition, granted),
    )
}
READS_INPUT = ("bucket", "cleanup", "provider", "role", "job", "schedule", "alert", "granted")


def main(question: str, *arguments: str) -> int:
    """Print one answer a line. Standard input has the answer of Google as JSON."""
    said = [json.load(sys.stdin)] if question in READS_INPUT else []
    try:
        answer = ANSWERS[question](*arguments, *said)
    except SpotError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
