"""Test the findings on location, soft delete and access of the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from spot.config.settings import Settings
from spot.doctor import bucket
from spot.doctor.finding import Finding, Status
from spot.google.rest import GoogleApi
from tests.machinery.google.google_project import BUCKET, SETTINGS, google_project, settings_with
from tests.machinery.google.google_project import bucket as bucket_answer
from tests.machinery.google.google_server import GoogleServer


@pytest.fixture
def google() -> Iterator[GoogleServer]:
    with google_project() as server:
        yield server


def found(check: str, settings: Settings = SETTINGS) -> Finding:
    findings = bucket.check(GoogleApi.open(), settings)
    return next(finding for finding in findings if finding.check == check)


@pytest.mark.usefixtures("google")
def test_a_bucket_that_does_not_exist_fails_with_the_command_that_makes_a_good_one() -> None:
    missing = found("bucket", settings_with(bucket="other"))
    assert missing.status is Status.FAILED
    assert missing.fix == (
        "gcloud storage buckets create gs://other --project=my-project --location=us-central1 "
        "--uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0"
    )


@pytest.mark.parametrize(("location", "kind"), [("US", "multi-region"), ("NAM4", "dual-region")])
def test_a_bucket_in_several_regions_fails(google: GoogleServer, location: str, kind: str) -> None:
    google.answers[BUCKET] = bucket_answer(location=location, locationType=kind)
    finding = found("bucket")
    assert finding.status is Status.FAILED
    assert f"is a {kind} bucket in {location.lower()}" in finding.detail
    assert finding.fix.startswith("gcloud storage buckets create gs://my-bucket-us-central1 --project=my-project ")
    assert finding.fix.endswith(" --soft-delete-duration=0  # and set [cloud] bucket in spot.toml")


def test_a_bucket_in_a_region_where_no_run_trains_is_a_warning(google: GoogleServer) -> None:
    google.answers[BUCKET] = bucket_answer(location="EUROPE-WEST4")
    finding = found("bucket")
    assert finding.status is Status.WARNING
    assert "europe-west4" in finding.detail


def test_a_bucket_in_the_second_region_is_well(google: GoogleServer) -> None:
    google.answers[BUCKET] = bucket_answer(location="US-EAST4")
    assert found("bucket").status is Status.OK


def test_a_bucket_that_keeps_what_is_deleted_is_a_warning(google: GoogleServer) -> None:
    google.answers[BUCKET] = bucket_answer(softDeletePolicy={"retentionDurationSeconds": "604800"})
    finding = found("bucket soft delete")
    assert finding.status is Status.WARNING
    assert "for 7 days" in finding.detail
    assert finding.fix == "gcloud storage buckets update gs://my-bucket --clear-soft-delete"


@pytest.mark.parametrize("access", [{}, {"uniformBucketLevelAccess": {"enabled": False}}])
def test_a_bucket_with_access_by_object_is_a_warning(google: GoogleServer, access: dict[str, Any]) -> None:
    google.answers[BUCKET] = bucket_answer(iamConfiguration=access)
    finding = found("bucket access")
    assert finding.status is Status.WARNING
    assert finding.fix == "gcloud storage buckets update gs://my-bucket --uniform-bucket-level-access"
