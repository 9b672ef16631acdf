"""Create, read and cancel custom jobs of Vertex AI over REST. Only this module opens clients of Vertex AI.

A create has no request id and is never retried. After an ambiguous create the supervisor finds the job by its labels.
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Protocol, TypeVar, cast

from spot.core.errors import LOGIN, Exit, PermissionDenied, SpotError, TemporarilyUnavailable
from spot.core.fields import JOB, PROJECT, REGION, shown
from spot.core.job import JobError, JobSnapshot, JobState
from spot.core.run import Attempt, Run
from spot.google.job_spec import custom_job, label_filter, labels
from spot.storage.base import root_cause

ENDPOINT = "VERTEX_ENDPOINT"
DEFAULT_ENDPOINT = "https://{region}-aiplatform.googleapis.com"
CREATE_S = 60.0
CALL_S = 30.0
GIVE_UP_S = 60.0
"""Time for retries of idempotent calls."""
MOST_LETTERS = 2000
"""Of a message, which the ledger keeps."""
ON_THE_WAY = frozenset({409, 499})
"""Statuses of a call that was aborted or cancelled: they say nothing about the job."""

_T = TypeVar("_T")


class RequestRejected(SpotError):
    """Report a create that Vertex AI rejected: there is no job."""

    exit_code = Exit.AGAIN

    def __init__(self, message: str, error: JobError) -> None:
        super().__init__(message)
        self.error = error


class JobNotFound(SpotError):
    exit_code = Exit.AGAIN


class JobClient(Protocol):
    """Manage the custom jobs of a project. Each method may raise `PermissionDenied` or `TemporarilyUnavailable`."""

    def create(self, run: Run, attempt: Attempt) -> JobSnapshot:
        """Create the job of `attempt`. Raises `RequestRejected`."""

    def get(self, run: Run, attempt: Attempt) -> JobSnapshot:
        """Return the job that `attempt` names. Raises `JobNotFound`, also for a job with other labels."""

    def find(self, run: Run, attempt: Attempt) -> list[JobSnapshot]:
        """Return the jobs with the labels of `attempt` in its region, oldest first."""

    def cancel(self, name: str) -> None:
        """Request the end of a job; an ended job is no error."""


class VertexJobs:
    """Manage jobs in Vertex AI. Safe to use from several threads."""

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT, *, give_up_s: float = GIVE_UP_S) -> None:
        self._endpoint = os.environ.get(ENDPOINT) or endpoint
        self._give_up_s = give_up_s
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def create(self, run: Run, attempt: Attempt) -> JobSnapshot:
        what = f"{attempt.id} of run {run.id}"
        return self.create_job(run.spec.project, attempt.region, custom_job(run, attempt), what)

    def create_job(self, project: str, region: str, job: Mapping[str, Any], what: str) -> JobSnapshot:
        """Create a CustomJob. Raises as `create`."""
        from google.api_core.exceptions import ClientError

        parent, client = _parent(project, region), self._client(region)
        try:
            created = call(
                f"cannot create {what} in {region}",
                lambda: client.create_custom_job(parent=parent, custom_job=job, timeout=CREATE_S, retry=None),
            )
        except (JobNotFound, TemporarilyUnavailable) as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and cause.code not in ON_THE_WAY:  # a definite rejection
                raise RequestRejected(
                    str(error), JobError(code=int(cause.code or 400), message=_line(cause))
                ) from cause
            raise TemporarilyUnavailable(str(error)) from error
        return _snapshot(created)

    def get(self, run: Run, attempt: Attempt) -> JobSnapshot:
        return self.get_job(str(attempt.job), labels(run, attempt))

    def get_job(self, name: str, labels: Mapping[str, str]) -> JobSnapshot:
        """Return a job with these labels. Raises `JobNotFound`, also for a job with other labels."""
        get = self._client_of(name).get_custom_job
        job = call(f"cannot read {name}", lambda: get(name=name, timeout=CALL_S, retry=resend(self._give_up_s)))
        snapshot = _snapshot(job)
        if not _has_labels(job, labels):
            raise JobNotFound(f"{name} does not have the labels {label_filter(labels)}")
        return snapshot

    def find(self, run: Run, attempt: Attempt) -> list[JobSnapshot]:
        what = f"{attempt.id} of run {run.id}"
        return self.find_jobs(run.spec.project, attempt.region, labels(run, attempt), what)

    def find_jobs(self, project: str, region: str, labels: Mapping[str, str], what: str) -> list[JobSnapshot]:
        """Return the jobs of a region with these labels, oldest first."""
        request = {"parent": _parent(project, region), "filter": label_filter(labels)}
        client = self._client(region)
        try:
            found = call(
                f"cannot look for {what} in {region}",
                lambda: list(client.list_custom_jobs(request=request, timeout=CALL_S, retry=resend(self._give_up_s))),
            )
        except JobNotFound as error:  # the project or the region, not the job
            raise TemporarilyUnavailable(str(error)) from error
        ours = [_snapshot(job) for job in found if _has_labels(job, labels)]
        return sorted(ours, key=lambda job: (job.created_at, job.name))

    def cancel(self, name: str) -> None:
        from google.api_core import exceptions as api

        cancel = self._client_of(name).cancel_custom_job
        try:
            call(
                f"cannot cancel {name}",
                lambda: cancel(name=name, timeout=CALL_S, retry=resend(self._give_up_s)),
            )
        except JobNotFound:
            return
        except TemporarilyUnavailable as error:
            if not isinstance(error.__cause__, api.FailedPrecondition | api.BadRequest):  # it has ended
                raise

    def _client_of(self, job: str) -> Any:
        if not (match := JOB.fullmatch(job)):
            raise SpotError(f"{shown(job)} is not the name of a job: no request was sent")
        return self._client(match["region"])

    def _client(self, region: str) -> Any:
        if not REGION.fullmatch(region):
            raise SpotError(f"{shown(region)} is not a region: no request was sent")
        with self._lock:
            if region not in self._clients:
                self._clients[region] = open_client("job", self._endpoint.format(region=region))
            return self._clients[region]


def resend(give_up_s: float) -> Any:
    """Return the retries of a call that may be sent twice."""
    import requests
    from google.api_core import exceptions as api
    from google.api_core.retry import Retry, if_exception_type

    transient = if_exception_type(
        api.ServerError, api.TooManyRequests, requests.exceptions.ConnectionError, requests.exceptions.Timeout
    )
    return Retry(predicate=transient, initial=0.5, maximum=8.0, timeout=give_up_s)


def _parent(project: str, region: str) -> str:
    if not PROJECT.fullmatch(project):
        raise SpotError(f"{shown(project)} is not a project: no request was sent")
    return f"projects/{project}/locations/{region}"


def _has_labels(job: Any, labels: Mapping[str, str]) -> bool:
    return labels.items() <= dict(job.labels).items()


def wire(run: Run, attempt: Attempt) -> dict[str, Any]:
    """Return the body of the create request."""
    from google.cloud.aiplatform_v1.types import CustomJob

    text = CustomJob.to_json(
        CustomJob(custom_job(run, attempt)), always_print_fields_with_no_presence=False, use_integers_for_enums=False
    )
    return cast("dict[str, Any]", json.loads(text))


def open_client(service: str, endpoint: str) -> Any:
    """Return the client of a service of Vertex AI: `job` or `model`."""
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import DefaultCredentialsError

    module = import_module(f"google.cloud.aiplatform_v1.services.{service}_service")
    # Plain http is an emulator or a local proxy: it must not receive credentials.
    anonymous = endpoint.startswith("http://")
    try:
        return getattr(module, f"{service.title()}ServiceClient")(
            transport="rest",
            credentials=AnonymousCredentials() if anonymous else None,  # type: ignore[no-untyped-call]
            client_options=ClientOptions(api_endpoint=endpoint),
        )
    except DefaultCredentialsError as error:
        raise PermissionDenied(f"no Google Cloud credentials to ask {endpoint}", fix=LOGIN) from error


def call(what: str, send: Callable[[], _T]) -> _T:
    """Return the result of `send`. Raise `JobNotFound`, `PermissionDenied` or `TemporarilyUnavailable`."""
    import requests
    from google.api_core import exceptions as api
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]

    try:
        return send()
    except api.NotFound as error:
        raise JobNotFound(f"{what}: {_line(error)}") from error
    except (api.Unauthorized, api.Forbidden) as error:
        raise PermissionDenied(f"{what}: {_line(error)}") from error
    except (api.RetryError, api.GoogleAPICallError, requests.exceptions.RequestException, TransportError) as error:
        raise TemporarilyUnavailable(f"{what}: {_line(getattr(error, 'cause', None) or error)}") from error
    except (ParseError, UnicodeDecodeError, AttributeError, TypeError) as error:  # also for the error of a proxy
        raise TemporarilyUnavailable(f"{what}: the answer is not Vertex AI's: {_line(error)}") from error
    except GoogleAuthError as error:
        # The library does not mark a metadata server without an answer as retryable.
        if error.retryable or isinstance(error.__cause__, TransportError):
            raise TemporarilyUnavailable(f"{what}: {_line(error)}") from error
        raise PermissionDenied(f"{what}: {_line(error)}", fix=LOGIN) from error


def _snapshot(job: Any) -> JobSnapshot:
    if not JOB.fullmatch(job.name):
        raise TemporarilyUnavailable(f"the answer is not Vertex AI's: its job has the name {shown(job.name)}")
    try:
        state = JobState(int(job.state))
    except ValueError:  # a new state
        state = JobState.UNSPECIFIED
    said = job.error
    return JobSnapshot(
        name=job.name,
        state=state,
        created_at=_moment(job.create_time) or datetime.now(UTC),
        started_at=_moment(job.start_time),
        ended_at=_moment(job.end_time),
        error=JobError(code=said.code, message=said.message[:MOST_LETTERS]) if said.code or said.message else None,
    )


def _moment(stamp: Any) -> datetime | None:
    return datetime.fromtimestamp(stamp.timestamp(), UTC) if stamp else None


def _line(error: BaseException) -> str:
    """Return the message of the server, without the URL."""
    text = str(getattr(error, "message", "") or root_cause(error))
    with contextlib.suppress(AttributeError, ValueError, LookupError, TypeError):
        text = str(cast("Any", error).response.json()["error"]["message"])
    return " ".join(text.encode(errors="replace").decode().split())[:MOST_LETTERS] or type(error).__name__
