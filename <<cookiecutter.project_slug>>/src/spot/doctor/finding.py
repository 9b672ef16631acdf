"""Define the findings of `spot doctor`."""

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any
from urllib.parse import quote

from spot.config.settings import Settings
from spot.google.rest import GoogleApi, GoogleApiError


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Runs work, but cost more or are less safe than necessary."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The check was not possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    check: str
    status: Status
    detail: str
    """For UNKNOWN the reason."""
    fix: str = ""
    """A command or a page to open; empty if no change is needed, or if an earlier finding has the same fix."""


def find(api: GoogleApi, service: str, path: str) -> dict[str, Any] | None:
    """Return the resource at `path`, None if it does not exist. Raise `GoogleApiError`."""
    try:
        return api.get(service, path)
    except GoogleApiError as error:
        if error.status != 404:
            raise
        return None


def record(api: GoogleApi, settings: Settings, name: str) -> bytes | None:
    """Return a record in the bucket of the project, None if it does not exist. Raise `GoogleApiError`."""
    place = quote(f"{settings.cloud.prefix}/{name}", safe="")
    found = find(api, "storage", f"storage/v1/b/{quote(settings.cloud.bucket, safe='')}/o/{place}?alt=media")
    return None if found is None else json.dumps(found).encode()


def _finding(status: Status, check: str, detail: str, fix: str = "") -> Finding:
    return Finding(check=check, status=status, detail=detail, fix=fix)


ok, warning, failed, unknown = (partial(_finding, status) for status in Status)
