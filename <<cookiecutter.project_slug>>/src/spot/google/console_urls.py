"""Where a job, and what it made, can be looked at."""

from __future__ import annotations

from urllib.parse import quote


def console(job: str) -> str:
    """The job's page in the Google Cloud console. `job` is its resource name."""
    project, region, number = _parts(job)
    return f"https://console.cloud.google.com/vertex-ai/locations/{region}/training/{number}?project={project}"


def logs(job: str) -> str:
    """Its log in the Logs Explorer."""
    project, _, number = _parts(job)
    query = quote(f'resource.type="ml_job"\nresource.labels.job_id="{number}"', safe="")
    return f"https://console.cloud.google.com/logs/query;query={query}?project={project}"


def follow(job: str) -> str:
    """The command that follows its log."""
    project, region, number = _parts(job)
    return f"gcloud ai custom-jobs stream-logs {number} --region={region} --project={project}"


def storage(uri: str) -> str | None:
    """The page of what lies below a `gs://` URI; None for a local path."""
    return f"https://console.cloud.google.com/storage/browser/{quote(uri[5:])}" if uri.startswith("gs://") else None


def _parts(job: str) -> tuple[str, str, str]:
    _, project, _, region, _, number = job.split("/")
    return project, region, number
