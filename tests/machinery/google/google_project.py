"""Serve a Google Cloud project without a defect, which tests then add."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from spot.config.load import parse
from spot.config.settings import Settings
from spot.google import registry, rest
from tests.machinery.google.google_server import Answer, GoogleServer, google_server
from tests.machinery.google.supervisor_job import SupervisorJobs

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
ACCOUNT = "trainer@my-project.iam.gserviceaccount.com"
IMAGE = "us-central1-docker.pkg.dev/my-project/images/trainer"
SETTINGS = parse(
    f"""
name = "Churn"
[cloud]
project = "my-project"
regions = ["us-central1", "us-east4"]
bucket = "my-bucket"
prefix = "churn"
service_account = "{ACCOUNT}"
image = "{IMAGE}:v1"
[machine]
type = "g2-standard-8"
accelerator = "NVIDIA_L4"
[policy]
deadline_hours = 12
work_hours = 1
""",
    "spot.toml",
)
PROJECT = "/cloudresourcemanager/v3/projects/my-project"
SERVICES = "/serviceusage/v1/projects/my-project/services:batchGet"
BUCKET = "/storage/storage/v1/b/my-bucket"
SERVICE_ACCOUNT = f"/iam/v1/projects/my-project/serviceAccounts/{ACCOUNT.replace('@', '%40')}"
FACTS = "/storage/storage/v1/b/my-bucket/o/churn%2Flive%2Ffacts.json"
MANIFEST = "/v2/my-project/images/trainer/manifests"
READERS = "/artifactregistry/v1/projects/my-project/locations/us-central1/repositories/images:getIamPolicy"
MACHINE_TYPES = "/compute/compute/v1/projects/my-project/aggregated/machineTypes"
ACCELERATOR_TYPES = "/compute/compute/v1/projects/my-project/aggregated/acceleratorTypes"
OBJECTS = f"{BUCKET}/o"
JOB = "projects/my-project/locations/us-central1/jobs/spot-churn"
METRICS = (
    "/serviceusage/v1beta1/projects/my-project/services/aiplatform.googleapis.com/consumerQuotaMetrics/"
    "aiplatform.googleapis.com%2Fcustom_model_training_"
)


def settings_with(table: str = "cloud", **values: object) -> Settings:
    """Return the settings with unchecked values in a table."""
    return SETTINGS.model_copy(update={table: getattr(SETTINGS, table).model_copy(update=values)})


def services(*off: str) -> Answer:
    known = ("aiplatform", "artifactregistry", "cloudbilling", "cloudscheduler", "compute", "iam", "run", "storage")
    names = [f"{name}.googleapis.com" for name in known]
    states = {name: "DISABLED" if name in off else "ENABLED" for name in names}
    found = [
        {"name": f"projects/123/services/{name}", "config": {"name": name}, "state": state, "parent": "projects/123"}
        for name, state in states.items()
    ]
    return Answer({"services": found})


def bucket(**changes: Any) -> Answer:
    healthy = {
        "kind": "storage#bucket",
        "name": "my-bucket",
        "location": "US-CENTRAL1",
        "locationType": "region",
        "softDeletePolicy": {"retentionDurationSeconds": "0"},
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
    }
    return Answer({**healthy, **changes})


def facts(value: str = "10001", **changes: Any) -> Answer:
    """The facts of a project that was verified a moment ago."""
    fact = {"value": value, "at": datetime.now(UTC).isoformat(), "as_assumed": True, **changes}
    return Answer({"format": 1, "facts": {"uid": fact}, "preemptions": []})


def aggregated(kind: str, name: str, *zones: str, token: str = "") -> Answer:
    """One page of an aggregated list: a zone without results has a warning in their place."""
    items: dict[str, Any] = {f"zones/{zone}": {kind: [{"name": name, "zone": zone}]} for zone in zones}
    items["zones/africa-south1-a"] = {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results"}}
    return Answer({"kind": f"compute#{kind}", "items": items, **({"nextPageToken": token} if token else {})})


def metric(default: int, **by_region: int) -> Answer:
    buckets: list[dict[str, Any]] = [{"effectiveLimit": str(default), "defaultLimit": str(default)}]
    for region, value in by_region.items():
        buckets.append({"effectiveLimit": str(value), "dimensions": {"region": region.replace("_", "-")}})
    return Answer({"consumerQuotaLimits": [{"unit": "1/{project}/{region}", "quotaBuckets": buckets}]})


def readers(*kinds: str) -> Answer:
    """Answer with a policy in which these agents of Vertex AI may read images."""
    members = [f"serviceAccount:service-123@gcp-sa-aiplatform{kind}.iam.gserviceaccount.com" for kind in kinds]
    return Answer({"bindings": [{"role": "roles/artifactregistry.reader", "members": members}]})


@contextmanager
def google_project() -> Iterator[GoogleServer]:
    """Everything that asks Google, or a registry, asks this server meanwhile, without credentials."""
    with google_server() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv(rest.ENDPOINT, f"{server.url}/{{api}}")
        patch.setenv(registry.ENDPOINT, server.url)
        zones = ("us-central1-a", "us-central1-c", "us-east4-a", "us-west1-a")
        server.answers = {
            PROJECT: Answer({"name": "projects/123", "projectId": "my-project", "state": "ACTIVE"}),
            SERVICES: services(),
            BUCKET: bucket(),
            FACTS: facts(),
            SERVICE_ACCOUNT: Answer({"email": ACCOUNT}),
            f"{MANIFEST}/v1": Answer(headers={"Docker-Content-Digest": DIGEST}),
            f"{MANIFEST}/{DIGEST}": Answer(headers={"Docker-Content-Digest": DIGEST}),
            READERS: readers("", "-cc"),
            MACHINE_TYPES: aggregated("machineTypes", "g2-standard-8", *zones),
            ACCELERATOR_TYPES: aggregated("acceleratorTypes", "nvidia-l4", *zones),
            f"{METRICS}preemptible_nvidia_l4_gpus": metric(1),
            f"{METRICS}preemptible_cpus": metric(8),
            f"{METRICS}nvidia_l4_gpus": metric(4),
            f"{METRICS}g2_cpus": metric(-1),
            OBJECTS: Answer({"kind": "storage#objects"}),
        }
        SupervisorJobs(server, JOB)
        yield server
