"""Check that the bucket exists in a single region of the runs, and that deleted objects cost nothing."""

from collections.abc import Iterator, Mapping
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
    return [_location(bucket, cloud), *_billing_and_access(bucket, cloud)]


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


def _billing_and_access(bucket: Mapping[str, Any], cloud: CloudSettings) -> Iterator[Finding]:
    name, update = f"gs://{cloud.bucket}", f"gcloud storage buckets update gs://{cloud.bucket}"
    days = int(bucket.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0)) / 86400
    if days > 0:
        kept = f"{name} keeps deleted objects for {days:g} days: every pruned checkpoint is billed on"
        yield warning(f"{NAME} soft delete", kept, f"{update} --clear-soft-delete")
    else:
        yield ok(f"{NAME} soft delete", "off: deleted objects are not billed")
    if bucket.get("iamConfiguration", {}).get("uniformBucketLevelAccess", {}).get("enabled", False):
        yield ok(f"{NAME} access", "uniform: only roles grant access")
    else:
        allows = f"{name} allows an access list for each object"
        yield warning(f"{NAME} access", allows, f"{update} --uniform-bucket-level-access")


def _create(cloud: CloudSettings, name: str) -> str:
    return (
        f"gcloud storage buckets create gs://{name} --project={cloud.project} --location={cloud.regions[0]} "
        "--uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0"
    )
