"""Call the GitHub API: enable and disable workflows, and keep one issue per run that needs a person."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import requests
from urllib3 import Retry

from spot.core.errors import Exit, SpotError
from spot.google.rest import CONNECT_AND_READ_S, retried

LABEL = "retraining"
PAGE = 100


class GitHubError(SpotError):
    """Report a request that GitHub refused or did not answer."""

    exit_code = Exit.FAILED


class IssuesOff(GitHubError):
    """Report a repository with issues disabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    number: int
    body: str
    is_open: bool


class GitHub:
    """Call the API of one repository with the token of a workflow. Every method raises `GitHubError`."""

    def __init__(self, *, url: str, repository: str, token: str) -> None:
        self._base = f"{url.rstrip('/')}/repos/{repository}"
        # A new issue or comment is not repeated.
        self._session = retried(requests.Session(), Retry.DEFAULT_ALLOWED_METHODS)
        self._session.headers.update(
            {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {token}", "User-Agent": "spot"}
        )

    def switch(self, workflow: str, *, on: bool) -> None:
        """Enable or disable a workflow by the name of its file. Idempotent."""
        self._ask("PUT", f"actions/workflows/{quote(workflow, safe='')}/{'enable' if on else 'disable'}")

    def revive(self, workflow: str) -> None:
        """Restart the 60 days of a schedule, or undo their end. A workflow disabled by a person stays disabled."""
        if self._ask("GET", f"actions/workflows/{quote(workflow, safe='')}").json()["state"] != "disabled_manually":
            self.switch(workflow, on=True)

    def created_at(self, workflow_run: str) -> datetime:
        """Return when a run of a workflow was created; a re-run keeps that time, and its id."""
        path = f"actions/runs/{quote(workflow_run, safe='')}"
        text = self._ask("GET", path).json().get("created_at")
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except (TypeError, ValueError):
            raise GitHubError(f"GitHub answered created_at {text!r} to GET {path}: expected a time") from None

    def issues(self) -> Iterator[Issue]:
        """Yield the issues with our label, open and closed, newest first."""
        number = 0
        found: list[dict[str, Any]] = []
        while number == 0 or len(found) == PAGE:
            number += 1
            query = {"labels": LABEL, "state": "all", "per_page": PAGE, "page": number}
            found = self._ask("GET", "issues", params=query).json()
            for item in found:
                yield Issue(number=item["number"], body=item["body"] or "", is_open=item["state"] == "open")

    def open_issue(self, title: str, body: str) -> None:
        self._ask("POST", "issues", json={"title": title, "body": body, "labels": [LABEL]})

    def close_issue(self, number: int, comment: str) -> None:
        """Comment first, so that no issue is closed without a reason."""
        self._ask("POST", f"issues/{number}/comments", json={"body": comment})
        self._ask("PATCH", f"issues/{number}", json={"state": "closed", "state_reason": "completed"})

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        what = f"{method} {self._base}/{path}"
        try:
            response = self._session.request(method, f"{self._base}/{path}", timeout=CONNECT_AND_READ_S, **more)
        except requests.exceptions.RequestException as error:
            raise GitHubError(f"no answer from GitHub to {what}: {' '.join(str(error).split())}") from error
        if not response.ok:
            kind, said = IssuesOff if response.status_code == 410 else GitHubError, response.reason or "no reason"
            with contextlib.suppress(ValueError, LookupError, TypeError):
                said = " ".join(str(response.json()["message"]).split())
            raise kind(f"GitHub answered {response.status_code} to {what}: {said}")
        return response
