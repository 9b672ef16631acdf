"""Check that the bucket exists in a single region of the runs, and that deleted objects cost nothing."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from spot.doctor.finding import Finding, Subject, failed, find, ok, warning
from spot.google.rest import GoogleApi

NAME = "bucket"


def check(api: GoogleApi, subject: Subject) -> list[Finding]:
    """Return findings on location, soft delete and access. Raise `GoogleApiError` if the bucket cannot be read."""
    bucket = find(api, "storage", f"storage/v1/b/{quote(subject.bucket, safe='')}")
    if bucket is None:
        return [failed(NAME, f"gs://{subject.bucket} does not exist", _create(subject, subject.bucket))]
    return [_location(bucket, subject), _soft_delete(bucket, subject), _access(bucket, subject)]


def _location(bucket: Mapping[str, Any], subject: Subject) -> Finding:
    location, kind = str(bucket["location"]).lower(), str(bucket["locationType"])
    create = _create(subject, f"{subject.bucket}-{subject.regions[0]}")
    replace = f"{create}  # and set [cloud] bucket in spot.toml"
    if kind != "region":
        detail = f"gs://{subject.bucket} is a {kind} bucket in {location}: Vertex AI training needs a single region"
        return failed(NAME, detail, replace)
    if location not in subject.regions:
        regions = ", ".join(subject.regions)
        detail = (
            f"gs://{subject.bucket} is in {location}, and runs train in {regions}: traffic between regions is billed"
        )
        return warning(NAME, detail, f"{replace}, or add {location} to [cloud] regions")
    return ok(NAME, f"gs://{subject.bucket} is in {location}")


def _soft_delete(bucket: Mapping[str, Any], subject: Subject) -> Finding:
    check = f"{NAME} soft delete"
    days = int(bucket.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0)) / 86400
    if days > 0:
        detail = f"gs://{subject.bucket} keeps deleted objects for {days:g} days: every pruned checkpoint is billed on"
        return warning(check, detail, f"gcloud storage buckets update gs://{subject.bucket} --clear-soft-delete")
    return ok(check, "off: deleted objects are not billed")


def _access(bucket: Mapping[str, Any], subject: Subject) -> Finding:
    check = f"{NAME} access"
    if not bucket.get("iamConfiguration", {}).get("uniformBucketLevelAccess", {}).get("enabled", False):
        detail = f"gs://{subject.bucket} allows an access list for each object"
        fix = f"gcloud storage buckets update gs://{subject.bucket} --uniform-bucket-level-access"
        return warning(check, detail, fix)
    return ok(check, "uniform: only roles grant access")


def _create(subject: Subject, name: str) -> str:
    return (
        f"gcloud storage buckets create gs://{name} --project={subject.project} --location={subject.regions[0]} "
        "--uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0"
    )
