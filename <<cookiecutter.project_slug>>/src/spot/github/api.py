"""What is asked of GitHub: workflows switched on and off, one issue for each failed run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from spot.core.errors import Exit, SpotError

LABEL = "failed-run"
CONNECT_AND_READ_S = (10.0, 30.0)
PAGE = 100
TRIES = 3
"""Of what may be asked twice; only a new issue or comment may not."""


class GitHubError(SpotError):
    """Report a request that GitHub refused or did not answer."""

    exit_code = Exit.FAILED


class IssuesOff(GitHubError):
    """The repository has no issues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One that this module opened."""

    number: int
    body: str
    is_open: bool


class GitHub:
    """One repository, as the token of a workflow may use it. Every method raises `GitHubError`."""

    def __init__(self, *, url: str, repository: str, token: str) -> None:
        self._base = f"{url.rstrip('/')}/repos/{repository}"
        self._session = requests.Session()
        self._session.headers.update(
            {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {token}", "User-Agent": "spot"}
        )
        again = Retry(
            TRIES - 1,
            backoff_factor=0.5,
            status_forcelist=(429, 500, 502, 503, 504),
            raise_on_status=False,
            respect_retry_after_header=False,  # it may say hours, and the next pass comes in minutes
        )
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=again))

    @classmethod
    def of_this_workflow(cls) -> Self:
        """The repository whose workflow this process runs in."""
        missing = [name for name in ("GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN") if not os.environ.get(name)]
        if missing:
            raise GitHubError(f"{', '.join(missing)} not set: this runs in a workflow, which gives them")
        return cls(
            url=os.environ["GITHUB_API_URL"],
            repository=os.environ["GITHUB_REPOSITORY"],
            token=os.environ["GITHUB_TOKEN"],
        )

    def switch(self, workflow: str, *, on: bool) -> None:
        """`workflow` is its file's name. What is on may be switched on again."""
        self._ask("PUT", f"actions/workflows/{quote(workflow, safe='')}/{'enable' if on else 'disable'}")

    def revive(self, workflow: str) -> None:
        """Start its 60 days without activity anew, or undo their end; what somebody switched off stays off."""
        if self._ask("GET", f"actions/workflows/{quote(workflow, safe='')}").json()["state"] != "disabled_manually":
            self.switch(workflow, on=True)

    def issues(self) -> Iterator[Issue]:
        """Those with our label, open and closed, newest first."""
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
        """The comment comes first: an issue that was closed without a word raises questions."""
        self._ask("POST", f"issues/{number}/comments", json={"body": comment})
        self._ask("PATCH", f"issues/{number}", json={"state": "closed", "state_reason": "completed"})

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        what = f"{method} {self._base}/{path}"
        try:
            response = self._session.request(method, f"{self._base}/{path}", timeout=CONNECT_AND_READ_S, **more)
        except requests.exceptions.RequestException as error:
            raise GitHubError(f"no answer from GitHub to {what}: {' '.join(str(error).split())}") from error
        if not response.ok:
            kind = IssuesOff if response.status_code == 410 else GitHubError
            raise kind(f"GitHub answered {response.status_code} to {what}: {_said(response)}")
        return response


def _said(response: requests.Response) -> str:
    try:
        return " ".join(str(response.json()["message"]).split())
    except (ValueError, LookupError, TypeError):
        return response.reason or "nothing more"
