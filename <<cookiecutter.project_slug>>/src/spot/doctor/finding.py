"""Define the findings of `spot doctor`."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from spot.google.rest import GoogleApi, GoogleApiError


class Status(StrEnum):
    """State the result of a check."""

    OK = "ok"
    WARNING = "warning"
    """Runs work, but cost more or are less safe than necessary."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The check was not possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Hold the result of one check."""

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


def ok(check: str, detail: str) -> Finding:
    """Return a passed check."""
    return Finding(check=check, status=Status.OK, detail=detail)


def failed(check: str, detail: str, fix: str) -> Finding:
    """Return a failed check."""
    return Finding(check=check, status=Status.FAILED, detail=detail, fix=fix)


def warning(check: str, detail: str, fix: str) -> Finding:
    """Return a check that found avoidable cost or risk."""
    return Finding(check=check, status=Status.WARNING, detail=detail, fix=fix)


def unknown(check: str, detail: str, fix: str = "") -> Finding:
    """Return a check that was not possible."""
    return Finding(check=check, status=Status.UNKNOWN, detail=detail, fix=fix)
