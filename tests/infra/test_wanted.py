"""Test the wanted state of the cloud and the comparison with its present state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra import wanted
from spot.core.errors import SpotError
from tests.machinery.spot_toml import GOOD, changed

BUCKET: dict[str, Any] = {
    "name": "acme-ml-training",
    "location": "US-CENTRAL1",
    "locationType": "region",
    "iamConfiguration": {"publicAccessPrevention": "enforced", "uniformBucketLevelAccess": {"enabled": True}},
    "softDeletePolicy": {"retentionDurationSeconds": "0"},
    "lifecycle": {
        "rule": [
            {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}},
            {"action": {"type": "Delete"}, "condition": {"age": 60, "matchesPrefix": ["churn/checkpoints/"]}},
        ]
    },
}
REGISTRY: dict[str, Any] = {
    "cleanupPolicies": {
        "delete-old": {
            "id": "delete-old",
            "action": "DELETE",
            "condition": {"tagState": "ANY", "olderThan": "5184000s"},
        },
        "keep-newest": {"id": "keep-newest", "action": "KEEP", "mostRecentVersions": {"keepCount": 300}},
    }
}
PROVIDER: dict[str, Any] = {
    "state": "ACTIVE",
    "oidc": {"issuerUri": "https://token.actions.githubusercontent.com"},
    "attributeMapping": {
        "google.subject": "assertion.repository_id",
        "attribute.ref": "assertion.ref",
        "attribute.repository_id": "assertion.repository_id",
        "attribute.repository_owner_id": "assertion.repository_owner_id",
    },
    "attributeCondition": "assertion.repository_owner_id == '11' && assertion.repository_id == '22'",
}
MEMBER = "serviceAccount:training@acme-ml.iam.gserviceaccount.com"


@pytest.fixture
def spot_toml(tmp_path: Path) -> Path:
    path = tmp_path / "spot.toml"
    path.write_text(GOOD, encoding="utf-8")
    return path


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "written.json"


def test_a_bucket_as_wanted_needs_nothing(spot_toml: Path, written: Path) -> None:
    assert wanted.bucket(str(spot_toml), str(written), [BUCKET]) == []


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"iamConfiguration": {"publicAccessPrevention": "enforced"}}, "--uniform-bucket-level-access"),
        ({"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}, "--public-access-prevention"),
        ({"softDeletePolicy": {"retentionDurationSeconds": "604800"}}, "--clear-soft-delete"),
    ],
)
def test_only_the_missing_settings_of_a_bucket_are_changed(
    spot_toml: Path, written: Path, change: dict[str, Any], flag: str
) -> None:
    assert wanted.bucket(str(spot_toml), str(written), [BUCKET | change]) == [flag]


def test_rules_of_others_stay_and_an_older_one_of_ours_does_not(spot_toml: Path, written: Path) -> None:
    theirs = {"action": {"type": "Delete"}, "condition": {"age": 5, "matchesPrefix": ["tmp/"]}}
    old = {"action": {"type": "Delete"}, "condition": {"age": 30, "matchesPrefix": ["churn/checkpoints/"]}}
    flags = wanted.bucket(str(spot_toml), str(written), [BUCKET | {"lifecycle": {"rule": [theirs, old]}}])
    assert flags == [f"--lifecycle-file={written}"]
    assert json.loads(written.read_text()) == {"rule": [theirs, *BUCKET["lifecycle"]["rule"]]}


@pytest.mark.parametrize(("hours", "days"), [("0.5", 60), ("720", 60), ("721", 62), ("8760", 730)])
def test_no_checkpoint_goes_before_twice_the_deadline_of_its_run(
    spot_toml: Path, written: Path, hours: str, days: int
) -> None:
    spot_toml.write_text(changed("policy.deadline_hours", hours), encoding="utf-8")
    assert wanted.bucket(str(spot_toml), str(written), []) == ["absent"]
    [_, delete] = json.loads(written.read_text())["rule"]
    assert delete["condition"] == {"age": days, "matchesPrefix": ["churn/checkpoints/"]}
    wanted.cleanup(str(spot_toml), str(written), {})
    assert json.loads(written.read_text())[0]["condition"]["olderThan"] == f"{days * 86400}s"


@pytest.mark.parametrize(("location", "kind"), [("US", "multi-region"), ("EUROPE-WEST4", "region")])
def test_a_bucket_elsewhere_is_refused(spot_toml: Path, written: Path, location: str, kind: str) -> None:
    with pytest.raises(SpotError, match=f"gs://acme-ml-training is in {location.lower()} and cannot be moved"):
        wanted.bucket(str(spot_toml), str(written), [BUCKET | {"location": location, "locationType": kind}])


def test_a_bucket_in_another_region_of_the_list_will_do(spot_toml: Path, written: Path) -> None:
    assert wanted.bucket(str(spot_toml), str(written), [BUCKET | {"location": "US-EAST4"}]) == []


def test_a_clean_up_as_wanted_needs_nothing(spot_toml: Path, written: Path) -> None:
    assert wanted.cleanup(str(spot_toml), str(written), REGISTRY) == []


def test_a_clean_up_that_is_missing_other_or_only_tried_out_differs(spot_toml: Path, written: Path) -> None:
    policies = REGISTRY["cleanupPolicies"]
    fewer = {
        "cleanupPolicies": policies
        | {"keep-newest": policies["keep-newest"] | {"mostRecentVersions": {"keepCount": 1}}}
    }
    more = {"cleanupPolicies": policies | {"another": policies["delete-old"]}}
    for described in ({}, fewer, more, REGISTRY | {"cleanupPolicyDryRun": True}):
        assert wanted.cleanup(str(spot_toml), str(written), described) == ["differs"], described


def test_a_provider_as_wanted_needs_nothing() -> None:
    assert wanted.provider("22", "11", [PROVIDER]) == []


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"state": "DELETED"}, "deleted"),
        ({"disabled": True}, "differs"),
        ({"attributeCondition": "assertion.repository_id == '22'"}, "differs"),
        ({"attributeCondition": ""}, "differs"),
        ({"attributeMapping": PROVIDER["attributeMapping"] | {"google.subject": "assertion.sub"}}, "differs"),
        ({"oidc": {"issuerUri": "https://token.actions.githubusercontent.com/another"}}, "differs"),
        ({"oidc": PROVIDER["oidc"] | {"allowedAudiences": ["anybody"]}}, "differs"),
    ],
)
def test_a_provider_with_a_wrong_condition_is_detected(change: dict[str, Any], answer: str) -> None:
    assert wanted.provider("22", "11", [PROVIDER | change]) == [answer]


def test_a_role_counts_for_its_member_alone_and_with_its_own_condition() -> None:
    def granted(role: str, member: str, below: str, *bindings: dict[str, Any]) -> list[str]:
        return wanted.granted(role, member, "acme", below, {"bindings": list(bindings)})

    role, below = "roles/storage.objectUser", "churn/models/,churn/checkpoints/"
    [condition] = wanted.condition("acme", below)
    expression = condition.removeprefix("expression=").removesuffix(",title=Objects by name")
    plain = {"role": role, "members": [MEMBER]}
    conditional = plain | {"condition": {"title": "until Friday", "expression": expression}}
    assert granted(role, MEMBER, "any", plain) == granted(role, MEMBER, below, conditional) == ["granted"]
    assert granted(role, MEMBER, below, plain) == granted(role, MEMBER, "any", conditional) == []
    assert granted(role, MEMBER, "churn/models/", conditional) == []
    assert granted(role, "serviceAccount:other@x", "any", plain) == []
    assert granted("roles/storage.admin", MEMBER, "any", plain) == []
    assert wanted.granted(role, MEMBER, "acme", "any", {}) == []


def test_a_condition_names_the_objects_below_each_prefix() -> None:
    assert wanted.condition("acme", "any") == ["None"]
    [condition] = wanted.condition("acme", "churn/models/,churn/tensorboard/")
    assert condition == (
        'expression=resource.name.startsWith("projects/_/buckets/acme/objects/churn/models/") || '
        'resource.name.startsWith("projects/_/buckets/acme/objects/churn/tensorboard/"),title=Objects by name'
    )


def test_a_role_with_a_permission_more_or_less_differs() -> None:
    assert wanted.role("a.get,a.list", {"includedPermissions": ["a.list", "a.get"]}) == []
    assert wanted.role("a.get,a.list", {"includedPermissions": ["a.get", "a.list", "a.set"]}) == ["differs"]
    assert wanted.role("a.get,a.list", {"includedPermissions": ["a.get"]}) == ["differs"]
    assert wanted.role("a.get,a.list", {}) == ["differs"]


@pytest.mark.parametrize(
    "account",
    [
        "training@other-project.iam.gserviceaccount.com",
        "short@acme-ml.iam.gserviceaccount.com",
        "4711-compute@developer.gserviceaccount.com",
    ],
)
def test_an_account_that_cannot_be_made_is_refused(spot_toml: Path, account: str) -> None:
    spot_toml.write_text(changed("cloud.service_account", f'"{account}"'), encoding="utf-8")
    with pytest.raises(SpotError, match=f'cloud.service_account is "{account}": expected an account of acme-ml'):
        wanted.settings(str(spot_toml))


def test_ci_may_change_models_and_the_schedule_only_where_the_settings_have_them(spot_toml: Path) -> None:
    jobs = ",".join(f"aiplatform.customJobs.{verb}" for verb in ("cancel", "create", "get", "list"))
    schedule = ",".join(f"cloudscheduler.jobs.{verb}" for verb in ("enable", "get", "pause"))
    assert wanted.permissions(str(spot_toml)) == [f"{jobs},{schedule}"]
    alone = changed("cloud.supervisor", '"github"')
    spot_toml.write_text(alone, encoding="utf-8")
    assert wanted.permissions(str(spot_toml)) == [jobs]
    spot_toml.write_text(changed("registry.model_id", '"churn"', alone), encoding="utf-8")
    models = ",".join(f"aiplatform.models.{verb}" for verb in ("get", "list", "update", "upload"))
    assert wanted.permissions(str(spot_toml)) == [f"{jobs},{models}"]


def test_the_settings_come_one_a_line(spot_toml: Path) -> None:
    assert wanted.settings(str(spot_toml)) == [
        "acme-ml",
        "us-central1",
        "acme-ml-training",
        "churn",
        "training@acme-ml.iam.gserviceaccount.com",
        "spot-churn",
    ]
