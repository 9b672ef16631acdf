"""Checks of the bucket: there, in a single region that training runs in, nothing kept that was deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from spot.doctor.finding import Finding, Status, Subject
from spot.google.rest import GoogleApi, GoogleApiError

NAME = "bucket"


def check(api: GoogleApi, subject: Subject) -> list[Finding]:
    """Raises `GoogleApiError` if the bucket cannot be seen."""
    try:
        bucket = api.get("storage", f"storage/v1/b/{quote(subject.bucket, safe='')}")
    except GoogleApiError as error:
        if error.status != 404:
            raise
        detail = f"gs://{subject.bucket} does not exist"
        return [Finding(check=NAME, status=Status.FAILED, detail=detail, fix=_create(subject, subject.bucket))]
    return [_location(bucket, subject), _soft_delete(bucket, subject), _access(bucket, subject)]


def _location(bucket: Mapping[str, Any], subject: Subject) -> Finding:
    location, kind = str(bucket["location"]).lower(), str(bucket["locationType"])
    another = (
        f"{_create(subject, f'{subject.bucket}-{subject.regions[0]}')}  # and name it in spot.toml: [cloud] bucket"
    )
    if kind != "region":
        return Finding(
            check=NAME,
            status=Status.FAILED,
            detail=f"gs://{subject.bucket} is a {kind} bucket in {location}, which Vertex AI training does not support",
            fix=another,
        )
    if location not in subject.regions:
        return Finding(
            check=NAME,
            status=Status.WARNING,
            detail=f"gs://{subject.bucket} is in {location}, where no run trains: "
            f"traffic from {', '.join(subject.regions)} costs money",
            fix=f"{another}, or add {location} to [cloud] regions",
        )
    return Finding(check=NAME, status=Status.OK, detail=f"gs://{subject.bucket} is in {location}")


def _soft_delete(bucket: Mapping[str, Any], subject: Subject) -> Finding:
    check = f"{NAME} soft delete"
    days = int(bucket.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0)) / 86400
    if days > 0:
        return Finding(
            check=check,
            status=Status.WARNING,
            detail=f"gs://{subject.bucket} keeps what is deleted for {days:g} days: "
            "every checkpoint that was pruned goes on costing money",
            fix=f"gcloud storage buckets update gs://{subject.bucket} --clear-soft-delete",
        )
    return Finding(check=check, status=Status.OK, detail="off: what is deleted costs nothing any more")


def _access(bucket: Mapping[str, Any], subject: Subject) -> Finding:
    check = f"{NAME} access"
    if not bucket.get("iamConfiguration", {}).get("uniformBucketLevelAccess", {}).get("enabled", False):
        return Finding(
            check=check,
            status=Status.WARNING,
            detail=f"gs://{subject.bucket} lets each object have an access list of its own",
            fix=f"gcloud storage buckets update gs://{subject.bucket} --uniform-bucket-level-access",
        )
    return Finding(check=check, status=Status.OK, detail="uniform: roles alone decide")


def _create(subject: Subject, name: str) -> str:
    return (
        f"gcloud storage buckets create gs://{name} --project={subject.project} --location={subject.regions[0]} "
        "--uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0"
    )
