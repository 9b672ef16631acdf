"""What the cloud is to look like for this project, and where it differs: the scripts ask this, and gcloud does it."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spot.config.load import SettingsError, load
from spot.config.settings import Settings

LEAST_DAYS = 60
KEPT_IMAGES = 300
"""Versions: one push makes about three, the index, the image and its attestation.

A run may use an image that was built long ago, and this alone keeps that: until a hundred newer ones are there.
"""
UPLOAD_DAYS = 7
ISSUER = "https://token.actions.githubusercontent.com"
MAPPING = {
    "google.subject": "assertion.repository_id",  # a subject has at most 127 bytes, and `sub` names the branch
    "attribute.repository_id": "assertion.repository_id",
    "attribute.repository_owner_id": "assertion.repository_owner_id",
    "attribute.ref": "assertion.ref",
}

Json = Mapping[str, Any]


class NotPossible(Exception):
    """What is wanted cannot be had, in one sentence."""


def settings(path: str) -> list[str]:
    """Project, region, bucket, prefix and training account."""
    cloud = load(Path(path)).cloud
    account = re.fullmatch(
        r"[a-z][a-z0-9-]{4,28}[a-z0-9]@([a-z0-9-]+)\.iam\.gserviceaccount\.com", cloud.service_account
    )
    if account is None or account[1] != cloud.project:
        raise NotPossible(
            f'cloud.service_account is "{cloud.service_account}": only an account of {cloud.project} can be made here, '
            f"with 6 to 30 characters before the @, or leave it empty"
        )
    return [cloud.project, cloud.regions[0], cloud.bucket, cloud.prefix, cloud.service_account]


def days(found: Settings) -> int:
    """A run's best checkpoint may be as old as the run, and a run may be late."""
    return max(LEAST_DAYS, 2 * math.ceil(found.policy.deadline_hours / 24))


def lifecycle(prefix: str, age_days: int, present: Sequence[Json]) -> list[Json]:
    """The bucket's rules with ours among them; those of others stay, an older form of ours does not."""
    ours: list[Json] = [
        {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": UPLOAD_DAYS}},
        {
            "action": {"type": "Delete"},
            "condition": {"age": age_days, "matchesPrefix": [f"{prefix}/checkpoints/"]},
        },
    ]
    keys = [_key(rule) for rule in ours]
    return [rule for rule in present if _key(rule) not in keys] + ours


def _key(rule: Json) -> tuple[object, object]:
    return rule["action"]["type"], rule["condition"].get("matchesPrefix")


def bucket(path: str, rules_file: str, listed: list[Json]) -> list[str]:
    """`absent`, or the flags of the update that it needs. `rules_file` is written for either."""
    settings_found = load(Path(path))
    cloud = settings_found.cloud
    found = listed[0] if listed else {}
    present = found.get("lifecycle", {}).get("rule", [])
    rules = lifecycle(cloud.prefix, days(settings_found), present)
    Path(rules_file).write_text(json.dumps({"rule": rules}), encoding="utf-8")
    if not listed:
        return ["absent"]
    location = str(found["location"]).lower()
    if location not in cloud.regions:
        raise NotPossible(
            f"gs://{cloud.bucket} is in {location} and cannot be moved: name another bucket in spot.toml, "
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
    """`differs`, or nothing. `policy_file` is written for either."""
    seconds = days(load(Path(path))) * 86400
    policies: list[dict[str, Any]] = [
        {
            "name": "delete-old",
            "action": {"type": "Delete"},
            "condition": {"tagState": "any", "olderThan": f"{seconds}s"},
        },
        {
            "name": "keep-newest",
            "action": {"type": "Keep"},
            "mostRecentVersions": {"keepCount": KEPT_IMAGES},
        },
    ]
    Path(policy_file).write_text(json.dumps(policies), encoding="utf-8")
    found = described.get("cleanupPolicies", {})
    same = {name: _policy(policy) for name, policy in found.items()} == {
        policy["name"]: _policy({**policy, "action": policy["action"]["type"]}) for policy in policies
    }
    return [] if same and not described.get("cleanupPolicyDryRun", False) else ["differs"]


def _policy(found: Json) -> tuple[object, ...]:
    """What counts in it: Google answers in upper case, and its durations may have a fraction."""
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
    """Of the provider that lets in this repository and no other: numbers, which outlive every change of name."""
    mapping = ",".join(f"{key}={value}" for key, value in MAPPING.items())
    return [
        f"--issuer-uri={ISSUER}",
        f"--attribute-mapping={mapping}",
        f"--attribute-condition={_condition(repository, owner)}",
    ]


def _condition(repository: str, owner: str) -> str:
    return f"assertion.repository_owner_id == '{owner}' && assertion.repository_id == '{repository}'"


def provider(repository: str, owner: str, listed: list[Json]) -> list[str]:
    """What to do with the provider: `absent`, `deleted`, `differs`, or nothing."""
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


def granted(role: str, member: str, policy: Json) -> list[str]:
    """`granted`, or nothing. A role on a condition counts for nothing."""
    holds = any(
        binding["role"] == role and member in binding["members"] and "condition" not in binding
        for binding in policy.get("bindings", [])
    )
    return ["granted"] if holds else []


ANSWERS: Mapping[str, Callable[..., list[str]]] = {
    "settings": settings,
    "bucket": bucket,
    "cleanup": cleanup,
    "provider-flags": provider_flags,
    "provider": provider,
    "granted": granted,
}
READS_INPUT = ("bucket", "cleanup", "provider", "granted")


def main(question: str, *arguments: str) -> int:
    """One answer a line. What Google said comes as JSON on standard input."""
    said = [json.load(sys.stdin)] if question in READS_INPUT else []
    try:
        answer = ANSWERS[question](*arguments, *said)
    except (NotPossible, SettingsError) as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
