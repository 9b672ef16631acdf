"""Test calls of GitHub: the token of the workflow, retries of transient errors, and messages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spot.github import workflow
from spot.github.api import PAGE, GitHub, GitHubError
from tests.workflows.github_server import REPOSITORY, GitHubServer, github_server


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    with github_server() as server:
        yield server


@pytest.fixture
def github(server: GitHubServer) -> GitHub:
    return GitHub(url=server.url, repository=REPOSITORY, token="a-token")


def test_a_workflow_is_switched_with_the_token_that_was_given(github: GitHub, server: GitHubServer) -> None:
    github.switch("supervise.yml", on=True)
    assert server.states == {"supervise.yml": "active"}
    github.switch("supervise.yml", on=False)
    assert server.states == {"supervise.yml": "disabled_manually"}
    assert server.tokens == {"Bearer a-token"}


@pytest.mark.parametrize(
    ("state", "later"),
    [("active", "active"), ("disabled_inactivity", "active"), ("disabled_manually", "disabled_manually")],
)
def test_a_workflow_is_enabled_again_unless_a_user_disabled_it(
    github: GitHub, server: GitHubServer, state: str, later: str
) -> None:
    server.states["retrain.yml"] = state
    github.revive("retrain.yml")
    assert server.states["retrain.yml"] == later
    assert len(server.calls) == (later == "active")


def test_a_run_of_a_workflow_has_a_time_of_its_own(github: GitHub, server: GitHubServer) -> None:
    created = github.created_at("7")
    assert created == server.created["7"].replace(microsecond=0)
    assert github.created_at("7") == created
    assert server.calls == []


def test_every_issue_is_found_on_however_many_pages(github: GitHub, server: GitHubServer) -> None:
    for number in range(2 * PAGE):
        github.open_issue(f"Issue {number}", "body")
    server.issues[3]["labels"] = ["something-else"]
    found = list(github.issues())
    assert [issue.number for issue in found] == [number for number in range(2 * PAGE, 0, -1) if number != 4]


def test_a_closed_issue_has_a_comment_with_the_reason(github: GitHub, server: GitHubServer) -> None:
    github.open_issue("Title", "body")
    github.close_issue(1, "it works again")
    assert (server.issues[0]["state"], server.issues[0]["comments"]) == ("closed", ["it works again"])
    assert not next(github.issues()).is_open


def test_an_answer_that_may_get_better_is_waited_for(github: GitHub, server: GitHubServer) -> None:
    server.failing = [502]
    github.switch("supervise.yml", on=True)
    assert server.states == {"supervise.yml": "active"}


def test_a_new_issue_is_not_asked_for_twice(github: GitHub, server: GitHubServer) -> None:
    server.failing = [502]
    with pytest.raises(GitHubError, match=r"502 to POST .*/issues: Something went wrong"):
        github.open_issue("Title", "body")
    assert server.issues == []


def test_a_refusal_says_what_was_asked(github: GitHub, server: GitHubServer) -> None:
    server.failing = [403]
    with pytest.raises(GitHubError, match=r"403 to PUT .*/actions/workflows/supervise.yml/disable: Something"):
        github.switch("supervise.yml", on=False)


def test_a_call_without_an_answer_is_reported() -> None:
    with github_server() as server:
        gone = GitHub(url=server.url, repository=REPOSITORY, token="a-token")
    with pytest.raises(GitHubError, match="no answer from GitHub to GET"):
        list(gone.issues())


def test_outside_of_a_workflow_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1")
    for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(GitHubError, match="GITHUB_REPOSITORY is not set"):
        workflow._github()
