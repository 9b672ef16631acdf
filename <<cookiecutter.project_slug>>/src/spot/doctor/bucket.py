"""Check that the bucket exists in a single region of the runs, and that deleted objects cost nothing."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from spot.config.settings import CloudSettings, Settings
from spot.doctor.finding import Finding, failed, find, ok, warning
from spot.google.rest import GoogleApi

NAME = "bucket"


def check(api: GoogleApi, settings: Settings) -> list[Finding]:
    """Return findings on location, soft delete and access. Raise `GoogleApiError` if the bucket cannot be read."""
    cloud = settings.cloud
    bucket = find(api, "storage", f"storage/v1/b/{quote(cloud.bucket, safe='')}")
    if bucket is None:
        return [failed(NAME, f"gs://{cloud.bucket} does not exist", _create(cloud, cloud.bucket))]
    return [_location(bucket, cloud), _soft_delete(bucket, cloud), _access(bucket, cloud)]


def _location(bucket: Mapping[str, Any], cloud: CloudSettings) -> Finding:
    location, kind = str(bucket["location"]).lower(), str(bucket["locationType"])
    create = _create(cloud, f"{cloud.bucket}-{cloud.regions[0]}")
    replace = f"{create}  # and set [cloud] bucket in spot.toml"
    if kind != "region":
        detail = f"gs://{cloud.bucket} is a {kind} bucket in {location}: Vertex AI training needs a single region"
        return failed(NAME, detail, replace)
    if location not in cloud.regions:
        regions = ", ".join(cloud.regions)
        detail = f"gs://{cloud.bucket} is in {location}, and runs train in {regions}: traffic between regions is billed"
        return warning(NAME, detail, f"{replace}, or add {location} to [cloud] regions")
    return ok(NAME, f"gs://{cloud.bucket} is in {location}")


def _soft_delete(bucket: Mapping[str, Any], cloud: CloudSettings) -> Finding:
    check = f"{NAME} soft delete"
    days = int(bucket.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0)) / 86400
    if days > 0:
        detail = f"gs://{cloud.bucket} keeps deleted objects for {days:g} days: every pruned checkpoint is billed on"
        return warning(check, detail, f"gcloud storage buckets update gs://{cloud.bucket} --clear-soft-delete")
    return ok(check, "off: deleted objects are not billed")


def _access(bucket: Mapping[str, Any], cloud: CloudSettings) -> Finding:
    check = f"{NAME} access"
    if not bucket.get("iamConfiguration", {}).get("uniformBucketLevelAccess", {}).get("enabled", False):
        detail = f"gs://{cloud.bucket} allows an access list for each object"
        fix = f"gcloud storage buckets update gs://{cloud.bucket} --uniform-bucket-level-access"
        return warning(check, detail, fix)
    return ok(check, "uniform: only roles grant access")


def _create(cloud: CloudSettings, name: str) -> str:
    return (
        f"gcloud storage buckets create gs://{name} --project={cloud.project} --location={cloud.regions[0]} "
        "--uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0"
    )
