"""Store objects in a Cloud Storage bucket.

The client library lists, deletes and reads small objects. Parts of checkpoints use requests of our own, because the
library copies an upload twice and reads a download in pieces of 8 KiB. Here a body is not copied.
"""

import base64
import contextlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

import google.auth
import requests
import urllib3
from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.auth import exceptions as auth_errors
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption
from requests.adapters import HTTPAdapter

from spot.core.errors import LOGIN, PermissionDenied, TemporarilyUnavailable
from spot.storage import base
from spot.storage.checksum import CHUNK, crc32c

EMULATOR = "STORAGE_EMULATOR_HOST"
SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
CONNECT_AND_READ_S = (10.0, 30.0)
FIRST_DELAY_S, LONGEST_DELAY_S = 0.25, 8.0
SLOWEST_UPLOAD = 10 << 20  # bytes per second: a large upload that fails late is tried again
CONNECTIONS = 16
_ONE_TRY: Any = {"timeout": CONNECT_AND_READ_S, "retry": None}
_LISTED = "items(name,size,generation,crc32c,timeCreated),nextPageToken"

_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
_TRANSIENT = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    requests.exceptions.InvalidJSONError,
    urllib3.exceptions.HTTPError,  # from raw downloads of the client library
    auth_errors.TransportError,
    DataCorruption,
    AttributeError,  # google-api-core raises it for the JSON error of a proxy
)

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class GcsStore:
    """Keep objects of one bucket below a prefix. Safe to use from several threads."""

    def __init__(
        self,
        uri: str,
        *,
        credentials: Credentials | None = None,
        give_up_s: float = base.GIVE_UP_S,
        first_delay_s: float = FIRST_DELAY_S,
    ) -> None:
        """Open `gs://bucket/prefix`. Raises `PermissionDenied` without credentials."""
        bucket, _, prefix = uri.removeprefix("gs://").partition("/")
        prefix = prefix.rstrip("/")
        if not bucket or not uri.isprintable() or prefix.startswith("/") or "//" in prefix:
            raise ValueError(f"{uri!r} names no bucket: expected gs://bucket/prefix")
        credentials = credentials or _credentials(uri)
        self.uri = f"gs://{bucket}/{prefix}" if prefix else f"gs://{bucket}"
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._give_up_s = give_up_s
        self._first_delay_s = first_delay_s
        self._host = os.environ.get(EMULATOR) or "https://storage.googleapis.com"
        self._session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_connections=CONNECTIONS, pool_maxsize=CONNECTIONS))
        # The client would fetch the bucket's metadata for traces, which may be forbidden and is not needed.
        os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        # Only calls about buckets need a project, and this class makes none.
        self._client = Client(project="unused", credentials=credentials)

    def write(
        self, name: str, data: bytes | memoryview, *, if_generation: int, cancelled: Callable[[], bool] = base.never
    ) -> base.Written:
        size, checksum = memoryview(data).nbytes, crc32c(data)
        body = Multipart(self._full(name), data, checksum, cancelled)
        sent = 0

        def send() -> base.Written:
            nonlocal sent
            sent += 1
            with self._request(
                "POST",
                f"upload/storage/v1/b/{self._bucket}/o",
                params={"uploadType": "multipart", "ifGenerationMatch": str(if_generation)},
                headers={"content-type": f"multipart/related; boundary={body.boundary}"},
                data=body,
            ) as response:
                resource = response.json()
                generation, written = int(resource["generation"]), int(resource["size"])
                return base.Written(generation=generation, size=written, crc32c=_crc32c(resource["crc32c"]))

        try:
            written = self._call(send, f"cannot write {self.uri}/{name}", cancelled, size)
        except base.Conflict:
            # The reply to an earlier try may have been lost.
            entries = self.list(name) if sent > 1 else []
            found = [one for one in entries if (one.name, one.size, one.crc32c) == (name, size, checksum)]
            if not found:
                raise
            return base.Written(generation=found[0].generation, size=size, crc32c=checksum)
        except base.NotFound as error:
            raise self._no_bucket() from error
        if (written.size, written.crc32c) != (size, checksum):
            raise base.Damaged(f"{self.uri}/{name}: sent {size} bytes, {written.size} with another checksum arrived")
        return written

    def read(self, name: str) -> base.Object:
        def fetch() -> base.Object:
            blob = self._client.bucket(self._bucket).blob(self._full(name))
            data = blob.download_as_bytes(raw_download=True, **_ONE_TRY)
            return base.Object(data=data, generation=int(blob.generation or 0))

        return self._call(fetch, f"cannot read {self.uri}/{name}")

    def read_into(self, name: str, view: memoryview, *, generation: int) -> None:
        def fetch() -> None:
            with self._request(
                "GET",
                f"download/storage/v1/b/{self._bucket}/o/{quote(self._full(name), safe='')}",
                params={"alt": "media", "generation": str(generation)},
                headers={"accept-encoding": "identity"},
                stream=True,
            ) as response:
                declared = int(response.headers.get("content-length", view.nbytes))
                if declared != view.nbytes:
                    raise base.Damaged(f"{self.uri}/{name} has {declared} bytes, expected {view.nbytes}")
                filled = 0
                for chunk in response.iter_content(CHUNK):
                    if filled + len(chunk) > view.nbytes:
                        raise base.Damaged(f"{self.uri}/{name} has more than the {view.nbytes} bytes expected")
                    view[filled : filled + len(chunk)] = chunk
                    filled += len(chunk)
                if filled != view.nbytes:
                    raise requests.exceptions.ConnectionError(f"ended after {filled} of {view.nbytes} bytes")

        self._call(fetch, f"cannot read {self.uri}/{name}")

    def list(self, prefix: str) -> list[base.Entry]:
        def fetch() -> list[base.Entry]:
            blobs = self._client.list_blobs(self._bucket, prefix=self._prefix + prefix, fields=_LISTED, **_ONE_TRY)
            return [
                base.Entry(
                    name=blob.name[len(self._prefix) :],
                    size=blob.size,
                    generation=blob.generation,
                    crc32c=_crc32c(blob.crc32c),
                    created=blob.time_created,
                )
                for blob in blobs
            ]

        try:
            return sorted(self._call(fetch, f"cannot list {self.uri}/{prefix}"), key=lambda entry: entry.name)
        except base.NotFound as error:
            raise self._no_bucket() from error

    def delete(self, name: str) -> None:
        def remove() -> None:
            self._client.bucket(self._bucket).blob(self._full(name)).delete(**_ONE_TRY)

        with contextlib.suppress(base.NotFound):
            self._call(remove, f"cannot delete {self.uri}/{name}")

    def _full(self, name: str) -> str:
        return self._prefix + base.checked_name(name)

    def _request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        session: requests.Session = self._session
        response = session.request(method, f"{self._host}/{path}", timeout=CONNECT_AND_READ_S, **arguments)
        if response.ok:
            return response
        with response:
            raise api.from_http_response(response)  # type: ignore[no-untyped-call]

    def _call(
        self, attempt: Callable[[], _T], what: str, cancelled: Callable[[], bool] = base.never, size: int = 0
    ) -> _T:
        """Return the result of `attempt`, which sends `size` bytes, repeated while its errors are transient."""

        def note(error: Exception) -> None:
            if cancelled():
                raise base.Cancelled from error
            _log.warning("%s: %s; retrying", what, _line(error))

        retry = Retry(
            predicate=_is_transient,
            initial=self._first_delay_s,
            maximum=LONGEST_DELAY_S,
            multiplier=2.0,
            timeout=self._give_up_s + size / SLOWEST_UPLOAD,
            on_error=note,
        )
        try:
            return retry(attempt)()
        except api.RetryError as error:
            raise TemporarilyUnavailable(
                f"{what} for {self._give_up_s:.0f} s: {_line(error.cause or error)}"
            ) from error
        except api.PreconditionFailed as error:
            raise base.Conflict(f"{what}: it has another generation") from error
        except api.NotFound as error:
            raise base.NotFound(f"{what}: it does not exist") from error
        except (api.GoogleAPICallError, auth_errors.GoogleAuthError, requests.exceptions.RequestException) as error:
            raise PermissionDenied(f"{what}: {_line(error)}") from error

    def _no_bucket(self) -> PermissionDenied:
        return PermissionDenied(f"bucket gs://{self._bucket} does not exist, or is not visible to these credentials")


class Multipart:
    """Iterate over the body of a multipart upload, any number of times, without a copy of the data."""

    def __init__(self, name: str, data: bytes | memoryview, checksum: int, cancelled: Callable[[], bool]) -> None:
        self.boundary = secrets.token_hex(16)
        crc = base64.b64encode(checksum.to_bytes(4, "big")).decode()
        metadata = json.dumps({"name": name, "crc32c": crc})
        self._head = (
            f"--{self.boundary}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n{metadata}\r\n"
            f"--{self.boundary}\r\ncontent-type: application/octet-stream\r\n\r\n"
        ).encode()
        self._data = memoryview(data).cast("B")
        self._tail = f"\r\n--{self.boundary}--\r\n".encode()
        self._cancelled = cancelled

    def __len__(self) -> int:
        return len(self._head) + self._data.nbytes + len(self._tail)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        yield self._head
        for offset in range(0, self._data.nbytes, CHUNK):
            if self._cancelled():
                raise base.Cancelled
            yield self._data[offset : offset + CHUNK]
        yield self._tail


def _credentials(uri: str) -> Credentials:
    if os.environ.get(EMULATOR, "").startswith("http://"):
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    try:
        return google.auth.default(scopes=[SCOPE])[0]
    except auth_errors.DefaultCredentialsError as error:
        raise PermissionDenied(f"no Google Cloud credentials to open {uri}", fix=LOGIN) from error


def _is_transient(error: Exception) -> bool:
    if isinstance(error, api.GoogleAPICallError):
        # Cloud Storage answers 400 to a body whose checksum is not the declared one.
        damaged = error.code == 400 and "crc32c" in _line(error).lower()
        return error.code in _TRANSIENT_STATUS or damaged
    if isinstance(error, auth_errors.RefreshError):
        # The library does not mark a metadata server without an answer as retryable.
        return error.retryable or isinstance(error.__cause__, auth_errors.TransportError)
    return isinstance(error, _TRANSIENT)


def _line(error: BaseException) -> str:
    """Return the message of the server, without URL and JSON."""
    text = str(error if isinstance(error, api.GoogleAPICallError) else base.root_cause(error))
    if isinstance(error, api.GoogleAPICallError) and isinstance(error.response, requests.Response):
        with contextlib.suppress(ValueError, LookupError, TypeError):
            text = f"{error.code} {error.response.json()['error']['message']}"
    return " ".join(text.split()) or type(error).__name__


def _crc32c(text: str) -> int:
    return int.from_bytes(base64.b64decode(text), "big")
