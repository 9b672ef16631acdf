"""Vertex AI's custom jobs over REST: the only importer of its client library.

A create has no request id and is never repeated here: after an ambiguous one the job is looked for by its labels.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar, cast

from spot.core.errors import LOGIN, Exit, PermissionDenied, SpotError, TemporarilyUnavailable
from spot.core.job import JobError, JobSnapshot, JobState
from spot.core.run import Attempt, Run
from spot.google.job_spec import custom_job, label_filter
from spot.storage.base import root_cause

ENDPOINT = "VERTEX_ENDPOINT"
DEFAULT_ENDPOINT = "https://{region}-aiplatform.googleapis.com"
CREATE_S = 60.0
CALL_S = 30.0
GIVE_UP_S = 60.0
"""Calls that may be repeated are, for so long."""
ON_THE_WAY = frozenset({409, 499})
"""Statuses of a call that was aborted or cancelled in passing: they say nothing of the job."""

_T = TypeVar("_T")


class RequestRejected(SpotError):
    """Report a create that Vertex AI rejected: there is no job."""

    exit_code = Exit.AGAIN

    def __init__(self, message: str, error: JobError) -> None:
        super().__init__(message)
        self.error = error


class JobNotFound(SpotError):
    """Report a job that does not exist."""

    exit_code = Exit.AGAIN


class JobClient(Protocol):
    """The custom jobs of a project, as the supervisor sees them."""

    def create(self, run: Run, attempt: Attempt) -> JobSnapshot:
        """Raises `RequestRejected`, `PermissionDenied` or `TemporarilyUnavailable`."""

    def get(self, name: str) -> JobSnapshot:
        """Raises `JobNotFound`, `PermissionDenied` or `TemporarilyUnavailable`."""

    def find(self, run: Run, attempt: Attempt) -> JobSnapshot | None:
        """Return the job with the labels of `attempt` in its region. Raises `SpotError`."""

    def cancel(self, name: str) -> None:
        """Request the end of a job; an ended job is no error. Raises `SpotError`."""


class VertexJobs:
    """The real ones. Safe to use from several threads."""

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT, *, give_up_s: float = GIVE_UP_S) -> None:
        self._endpoint = os.environ.get(ENDPOINT) or endpoint
        self._give_up_s = give_up_s
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def create(self, run: Run, attempt: Attempt) -> JobSnapshot:
        from google.api_core.exceptions import ClientError

        client = self._client(attempt.region)
        parent = f"projects/{run.spec.project}/locations/{attempt.region}"
        job = custom_job(run, attempt)
        try:
            created = _call(
                f"cannot create {attempt.id} of run {run.id} in {attempt.region}",
                lambda: client.create_custom_job(parent=parent, custom_job=job, timeout=CREATE_S, retry=None),
            )
        except (JobNotFound, TemporarilyUnavailable) as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and cause.code not in ON_THE_WAY:  # an answer, and it is no
                raise RequestRejected(
                    str(error), JobError(code=int(cause.code or 400), message=_line(cause))
                ) from cause
            raise TemporarilyUnavailable(str(error)) from error
        return _sighting(created)

    def get(self, name: str) -> JobSnapshot:
        client = self._client(_region(name))
        return _sighting(
            _call(f"cannot read {name}", lambda: client.get_custom_job(name=name, timeout=CALL_S, retry=self._retry()))
        )

    def find(self, run: Run, attempt: Attempt) -> JobSnapshot | None:
        request = {
            "parent": f"projects/{run.spec.project}/locations/{attempt.region}",
            "filter": label_filter(run, attempt),
        }
        client = self._client(attempt.region)
        try:
            found = _call(
                f"cannot look for {attempt.id} of run {run.id} in {attempt.region}",
                lambda: list(client.list_custom_jobs(request=request, timeout=CALL_S, retry=self._retry())),
            )
        except JobNotFound as error:  # the project or the region, which is no word about the job
            raise TemporarilyUnavailable(str(error)) from error
        return _sighting(found[0]) if found else None

    def cancel(self, name: str) -> None:
        from google.api_core import exceptions as api

        client = self._client(_region(name))
        try:
            _call(
                f"cannot cancel {name}",
                lambda: client.cancel_custom_job(name=name, timeout=CALL_S, retry=self._retry()),
            )
        except JobNotFound:
            return
        except TemporarilyUnavailable as error:
            if not isinstance(error.__cause__, api.FailedPrecondition | api.BadRequest):  # it has ended
                raise

    def _client(self, region: str) -> Any:
        with self._lock:
            if region not in self._clients:
                self._clients[region] = _open(self._endpoint.format(region=region))
            return self._clients[region]

    def _retry(self) -> Any:
        import requests
        from google.api_core import exceptions as api
        from google.api_core.retry import Retry, if_exception_type

        passing = if_exception_type(
            api.ServerError, api.TooManyRequests, requests.exceptions.ConnectionError, requests.exceptions.Timeout
        )
        return Retry(predicate=passing, initial=0.5, maximum=8.0, timeout=self._give_up_s)


def wire(run: Run, attempt: Attempt) -> dict[str, Any]:
    """The body of the create, as it goes over the wire."""
    from google.cloud.aiplatform_v1.types import CustomJob

    text = CustomJob.to_json(
        CustomJob(custom_job(run, attempt)), always_print_fields_with_no_presence=False, use_integers_for_enums=False
    )
    return cast("dict[str, Any]", json.loads(text))


def _open(endpoint: str) -> Any:
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud.aiplatform_v1.services.job_service import JobServiceClient

    # Plain http is a server on this machine or behind a proxy of one's own: nothing secret is sent there.
    anonymous = endpoint.startswith("http://")
    try:
        return JobServiceClient(
            transport="rest",
            credentials=AnonymousCredentials() if anonymous else None,  # type: ignore[no-untyped-call]
            client_options=ClientOptions(api_endpoint=endpoint),
        )
    except DefaultCredentialsError as error:
        raise PermissionDenied(f"no Google Cloud credentials to ask {endpoint}", fix=LOGIN) from error


def _call(what: str, call: Callable[[], _T]) -> _T:
    import requests
    from google.api_core import exceptions as api
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]

    try:
        return call()
    except api.NotFound as error:
        raise JobNotFound(f"{what}: {_line(error)}") from error
    except (api.Unauthorized, api.Forbidden) as error:
        raise PermissionDenied(f"{what}: {_line(error)}") from error
    except api.RetryError as error:
        raise TemporarilyUnavailable(f"{what}: {_line(error.cause or error)}") from error
    except (api.GoogleAPICallError, requests.exceptions.RequestException, TransportError) as error:
        raise TemporarilyUnavailable(f"{what}: {_line(error)}") from error
    except (ParseError, UnicodeDecodeError, AttributeError, TypeError) as error:  # of an error too, by a proxy
        raise TemporarilyUnavailable(f"{what}: the answer is not Vertex AI's: {_line(error)}") from error
    except GoogleAuthError as error:
        # A metadata server that does not answer is wrapped by the library, and not marked as passing.
        if error.retryable or isinstance(error.__cause__, TransportError):
            raise TemporarilyUnavailable(f"{what}: {_line(error)}") from error
        raise PermissionDenied(f"{what}: {_line(error)}", fix=LOGIN) from error


def _sighting(job: Any) -> JobSnapshot:
    if not job.name:
        raise TemporarilyUnavailable("the answer is not Vertex AI's: it is about a job without a name")
    try:
        state = JobState(int(job.state))
    except ValueError:  # one that this program does not know
        state = JobState.UNSPECIFIED
    said = job.error
    return JobSnapshot(
        name=job.name,
        state=state,
        created_at=_moment(job.create_time) or datetime.now(UTC),
        started_at=_moment(job.start_time),
        ended_at=_moment(job.end_time),
        error=JobError(code=said.code, message=said.message) if said.code or said.message else None,
    )


def _moment(stamp: Any) -> datetime | None:
    return datetime.fromtimestamp(stamp.timestamp(), UTC) if stamp else None


def _region(name: str) -> str:
    return name.split("/")[3]


def _line(error: BaseException) -> str:
    """What the server said, without the request's URL that the library puts before it."""
    text = str(getattr(error, "message", "") or root_cause(error))
    with contextlib.suppress(AttributeError, ValueError, LookupError, TypeError):
        text = str(cast("Any", error).response.json()["error"]["message"])
    return " ".join(text.split()) or type(error).__name__
