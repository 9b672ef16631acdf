"""Call Google's REST APIs: credentials, retries, and a fix for each refusal."""

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, cast

import google.auth
import requests
from google.auth import exceptions as auth_errors
from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession, Request

from spot.core.errors import LOGIN, Exit, SpotError
from spot.storage.base import root_cause

ENDPOINT = "GOOGLEAPIS_ENDPOINT"
"""Environment variable with the URL of another server, with `{api}` for the API. Calls are anonymous then."""
GOOGLE = "https://{api}.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
CONNECT_AND_READ_S = (10.0, 30.0)
DELAYS_S = (0.5, 1.0, 2.0)

SDK_PROJECT = "764086051850"
"""The project of gcloud itself, which credentials of a person without a quota project are counted against."""
TRANSIENT_STATUS = {429, 500, 502, 503, 504}
_TRANSIENT = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    auth_errors.TransportError,
)
_FIX = {
    401: LOGIN,
    403: "ask an owner of the project for a role with this permission",
    404: "check the name, and that these credentials may see it",
}

Params = Mapping[str, str | Sequence[str]]


class GoogleApiError(SpotError):
    """Report an answer that is missing or not usable; `status` is None if there was none."""

    def __init__(self, message: str, *, status: int | None = None, fix: str = "", denied: bool = False) -> None:
        final = bool(fix) or (status is not None and 400 <= status < 500 and status != 429)
        super().__init__(message, fix=fix, exit_code=Exit.USAGE if final else Exit.AGAIN)
        self.status = status
        self.denied = denied
        """Whether only a permission is missing."""


class GoogleApi:
    """Call Google's APIs, or the server in `ENDPOINT`. Safe to use from several threads."""

    def __init__(self, session: requests.Session, *, endpoint: str, sleep: Callable[[float], None]) -> None:
        self._session = session
        self._endpoint = endpoint
        self._sleep = sleep

    @classmethod
    def open(cls, *, sleep: Callable[[float], None] = time.sleep) -> Self:
        """Use the credentials of this environment. Raises `GoogleApiError` without any."""
        endpoint = os.environ.get(ENDPOINT)
        session = requests.Session() if endpoint else authorized(default_credentials())
        return cls(session, endpoint=endpoint or GOOGLE, sleep=sleep)

    def get(self, api: str, path: str, params: Params | None = None) -> dict[str, Any]:
        """Return the JSON object at `path`, which is quoted already. Raises `GoogleApiError`."""
        return self.call("GET", api, path, params=params)

    def call(
        self, method: str, api: str, path: str, *, params: Params | None = None, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send `body` as JSON and return the JSON object of the answer. Raises `GoogleApiError`."""
        url = f"{self._endpoint.replace('{api}', api)}/{path}"
        response = send(self._session, method, url, sleep=self._sleep, params=params, body=body)
        if not response.ok:
            raise refusal(api, response)
        answer = None
        with contextlib.suppress(ValueError):
            answer = response.json()
        if not isinstance(answer, dict):
            raise GoogleApiError(f"{api} answered {url} without a JSON object", status=response.status_code)
        return answer

    def pages(self, api: str, path: str, params: Params) -> Iterator[dict[str, Any]]:
        page = self.get(api, path, params)
        yield page
        while token := page.get("nextPageToken"):
            page = self.get(api, path, {**params, "pageToken": token})
            yield page


def default_credentials() -> Credentials:
    """Return the credentials of this environment. Raises `GoogleApiError` without any."""
    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    except auth_errors.GoogleAuthError as error:
        raise GoogleApiError(f"no Google Cloud credentials: {_line(error)}", fix=LOGIN) from error
    return credentials


def identity(credentials: Credentials) -> str:
    """Refresh the credentials and return their address, or their kind. Raises `GoogleApiError`."""
    try:
        credentials.refresh(Request())  # type: ignore[no-untyped-call]
    except auth_errors.GoogleAuthError as error:
        raise _not_refreshed(error) from error
    for name in ("service_account_email", "account"):
        if address := getattr(credentials, name, None):
            return str(address)
    return f"an account without an address ({type(credentials).__module__})"


def authorized(credentials: Credentials) -> requests.Session:
    return cast(requests.Session, AuthorizedSession(credentials))  # type: ignore[no-untyped-call]


def send(
    session: requests.Session,
    method: str,
    url: str,
    *,
    sleep: Callable[[float], None],
    params: Params | None = None,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
) -> requests.Response:
    """Return the response of any status, retried while it is transient. Raises `GoogleApiError` without one."""
    for delay in (*DELAYS_S, None):
        try:
            response = session.request(
                method, url, params=params, headers=headers, json=body, timeout=CONNECT_AND_READ_S
            )
            if delay is None or response.status_code not in TRANSIENT_STATUS:
                return response
        except _TRANSIENT as error:
            if delay is None:
                raise GoogleApiError(f"no answer from {url}: {_line(root_cause(error))}") from error
        except auth_errors.GoogleAuthError as error:
            raise _not_refreshed(error) from error
        except requests.exceptions.RequestException as error:
            raise GoogleApiError(f"cannot ask {url}: {_line(root_cause(error))}") from error
        sleep(delay)
    raise AssertionError("the last try returns or raises")


def _not_refreshed(error: auth_errors.GoogleAuthError) -> GoogleApiError:
    return GoogleApiError(f"the Google Cloud credentials do not work: {_line(error)}", fix=LOGIN)


def refusal(api: str, response: requests.Response) -> GoogleApiError:
    status = response.status_code
    said, fix, denied = response.reason or "no reason given", _FIX.get(status, ""), status == 403
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):  # not in Google's form of an error
        error = response.json()["error"]
        said = str(error["message"])
        for detail in error.get("details", ()):
            if detail.get("reason") == "SERVICE_DISABLED":
                where = detail["metadata"]
                project = where["consumer"].removeprefix("projects/")
                fix, denied = (
                    shlex.join(["gcloud", "services", "enable", where["service"], f"--project={project}"]),
                    False,
                )
                if project == SDK_PROJECT:
                    fix = "gcloud auth application-default set-quota-project PROJECT"
    said = " ".join(said.split()).rstrip(".")
    return GoogleApiError(f"{api} answered {status}: {said}", status=status, fix=fix, denied=denied)


def _line(error: BaseException) -> str:
    text = error.args[0] if len(error.args) > 1 and isinstance(error, auth_errors.GoogleAuthError) else error
    return " ".join(str(text).split()).rstrip(".") or type(error).__name__
