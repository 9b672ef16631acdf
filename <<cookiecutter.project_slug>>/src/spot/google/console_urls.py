"""Build links to the Google Cloud console."""

import shlex
from urllib.parse import quote


def console(job: str) -> str:
    """Return the page of a job. `job` is its resource name."""
    project, region, number = _parts(job)
    return f"https://console.cloud.google.com/vertex-ai/locations/{region}/training/{number}?project={project}"


def logs(job: str) -> str:
    project, _, number = _parts(job)
    query = quote(f'resource.type="ml_job"\nresource.labels.job_id="{number}"', safe="")
    return f"https://console.cloud.google.com/logs/query;query={query}?project={project}"


def follow(job: str, project: str) -> str:
    """Return the command that follows a log. `project` is an id: gcloud refuses the number in the name of a job."""
    _, region, number = _parts(job)
    return shlex.join(
        ["gcloud", "ai", "custom-jobs", "stream-logs", number, f"--region={region}", f"--project={project}"]
    )


def storage(uri: str) -> str | None:
    """Return the page of a `gs://` URI, None for a local path."""
    return f"https://console.cloud.google.com/storage/browser/{quote(uri[5:])}" if uri.startswith("gs://") else None


def _parts(job: str) -> tuple[str, str, str]:
    _, project, _, region, _, number = job.split("/")
    return project, region, number
