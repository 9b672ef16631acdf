"""Call Google's REST APIs: credentials, retries, and a fix for each refusal."""

import contextlib
import os
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Self, cast

import google.auth
import requests
from google.auth import exceptions as auth_errors
from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession, Request
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from spot.core.errors import LOGIN, Exit, SpotError
from spot.storage.base import root_cause

ENDPOINT = "GOOGLEAPIS_ENDPOINT"
"""Environment variable with the URL of another server, with `{api}` for the API. Calls are anonymous then."""
GOOGLE = "https://{api}.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
CONNECT_AND_READ_S = (10.0, 30.0)
RETRY = Retry(
    3,
    backoff_factor=0.5,
    status_forcelist=(429, 500, 502, 503, 504),
    raise_on_status=False,
    respect_retry_after_header=False,  # it may name hours
)

SDK_PROJECT = "764086051850"
"""The project of gcloud itself, which credentials of a person without a quota project are counted against."""
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

    def __init__(self, session: requests.Session, *, endpoint: str) -> None:
        self._session = retried(session)
        self._endpoint = endpoint

    @classmethod
    def open(cls) -> Self:
        """Use the credentials of this environment. Raises `GoogleApiError` without any."""
        endpoint = os.environ.get(ENDPOINT)
        session = requests.Session() if endpoint else authorized(default_credentials())
        return cls(session, endpoint=endpoint or GOOGLE)

    def get(self, api: str, path: str, params: Params | None = None) -> dict[str, Any]:
        """Return the JSON object at `path`, which is quoted already. Raises `GoogleApiError`."""
        return self.call("GET", api, path, params=params)

    def call(
        self, method: str, api: str, path: str, *, params: Params | None = None, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send `body` as JSON and return the JSON object of the answer. Raises `GoogleApiError`."""
        url = f"{self._endpoint.replace('{api}', api)}/{path}"
        response = send(self._session, method, url, params=params, json=body)
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


def retried(session: requests.Session, methods: Collection[str] | None = None) -> requests.Session:
    """Let a session repeat requests of these methods, or of all, while their errors are transient."""
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=RETRY.new(allowed_methods=methods)))
    return session


def send(session: requests.Session, method: str, url: str, **more: Any) -> requests.Response:
    """Return the response of any status. Raises `GoogleApiError` without one."""
    try:
        return session.request(method, url, timeout=CONNECT_AND_READ_S, **more)
    except (requests.exceptions.RequestException, auth_errors.TransportError) as error:
        raise GoogleApiError(f"no answer from {url}: {_line(root_cause(error))}") from error
    except auth_errors.GoogleAuthError as error:
        raise _not_refreshed(error) from error


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
    first, last = (error.args[0], error.args[-1]) if error.args else ("", "")
    text = first if isinstance(error, auth_errors.GoogleAuthError) else last
    return " ".join(str(text).split()).rstrip(".") or type(error).__name__
