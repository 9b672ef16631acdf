"""Test REST calls: transient errors are retried, all others are one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spot.google import rest
from spot.google.rest import RETRY, GoogleApi, GoogleApiError
from tests.machinery.google.google_server import (
    DENIED,
    HANG_UP,
    Answer,
    GoogleServer,
    api_is_off,
    google_server,
    refusal,
    service_account_key,
)

ADDRESS = "ci@my-project.iam.gserviceaccount.com"
TRANSIENT = [*(pytest.param(Answer(status=status), id=str(status)) for status in (429, 500, 502, 503, 504))]
TRANSIENT.append(pytest.param(HANG_UP, id="hang-up"))


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleServer]:
    with google_server() as server:
        monkeypatch.setenv(rest.ENDPOINT, f"{server.url}/{{api}}")
        yield server


@pytest.fixture
def api(google: GoogleServer) -> GoogleApi:  # noqa: ARG001  # it must be up
    return GoogleApi.open()


@pytest.fixture
def key_file(tmp_path: Path, google: GoogleServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The credentials of this environment: those of a service account, whose tokens come from `google`."""
    path = tmp_path / "key.json"
    path.write_text(service_account_key(ADDRESS, f"{google.url}/token"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return path


def test_an_answer_comes_from_the_api_and_path_that_were_asked(api: GoogleApi, google: GoogleServer) -> None:
    google.answers["/compute/v1/a%2Fb"] = Answer({"found": True})
    assert api.get("compute", "v1/a%2Fb", {"names": ["x", "y"]}) == {"found": True}
    assert google.asked[0].query == {"names": ["x", "y"]}
    assert "authorization" not in google.asked[0].headers


def test_every_page_is_read(api: GoogleApi, google: GoogleServer) -> None:
    google.answers["/compute/v1/list"] = [Answer({"items": 1, "nextPageToken": "t"}), Answer({"items": 2})]
    assert [page["items"] for page in api.pages("compute", "v1/list", {"filter": "f"})] == [1, 2]
    assert [asked.query for asked in google.asked] == [{"filter": ["f"]}, {"filter": ["f"], "pageToken": ["t"]}]


@pytest.mark.parametrize("passing", TRANSIENT)
def test_what_passes_is_tried_again(api: GoogleApi, google: GoogleServer, passing: Answer) -> None:
    google.answers["/iam/v1/x"] = [passing, passing, Answer({"found": True})]
    assert api.get("iam", "v1/x") == {"found": True}
    assert len(google.asked) == 3


def test_a_refusal_that_persists_is_reported_after_the_last_retry(api: GoogleApi, google: GoogleServer) -> None:
    google.answers["/iam/v1/x"] = refusal(503, "The service is currently unavailable.")
    with pytest.raises(GoogleApiError) as raised:
        api.get("iam", "v1/x")
    assert str(raised.value) == "iam answered 503: The service is currently unavailable"
    assert len(google.asked) == 1 + (RETRY.total or 0)


def test_a_server_that_does_not_answer_is_named(api: GoogleApi, google: GoogleServer) -> None:
    google.everywhere = HANG_UP
    with pytest.raises(GoogleApiError) as raised:
        api.get("iam", "v1/x")
    assert str(raised.value) == f"no answer from {google.url}/iam/v1/x: Remote end closed connection without response"
    assert raised.value.status is None
    assert len(google.asked) == 1 + (RETRY.total or 0)


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (refusal(400, "Bad."), "iam answered 400: Bad"),
        (refusal(401, "Who?"), "iam answered 401: Who? (fix: gcloud auth application-default login)"),
        (DENIED, "iam answered 403: The caller does not have permission (fix: ask an owner of the project for "),
        (refusal(404, "No x."), "iam answered 404: No x (fix: check the name, and that these credentials "),
        (Answer("<html>", status=404), "iam answered 404: Not Found (fix: check the name"),
        (Answer(["no", "error"], status=400), "iam answered 400: Bad Request"),
        (Answer("<html>"), "iam answered http://127.0.0.1:"),
        (Answer([1]), "iam answered http://127.0.0.1:"),
    ],
)
def test_what_will_not_pass_is_one_line_at_once(
    api: GoogleApi, google: GoogleServer, answer: Answer, line: str
) -> None:
    google.answers["/iam/v1/x"] = answer
    with pytest.raises(GoogleApiError) as raised:
        api.get("iam", "v1/x")
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)
    assert len(google.asked) == 1


def test_an_api_that_is_off_comes_with_the_command_that_turns_it_on(api: GoogleApi, google: GoogleServer) -> None:
    google.answers["/iam/v1/x"] = api_is_off("iam.googleapis.com")
    with pytest.raises(GoogleApiError) as raised:
        api.get("iam", "v1/x")
    assert raised.value.fix == "gcloud services enable iam.googleapis.com --project=123"
    assert not raised.value.denied
    assert "\n" not in str(raised.value)


def test_a_missing_permission_is_distinguished_from_a_disabled_api(api: GoogleApi, google: GoogleServer) -> None:
    google.answers["/iam/v1/x"] = DENIED
    with pytest.raises(GoogleApiError) as raised:
        api.get("iam", "v1/x")
    assert raised.value.denied


@pytest.mark.usefixtures("key_file")
def test_credentials_that_work_tell_whose_they_are_and_are_sent(google: GoogleServer) -> None:
    google.answers["/token"] = Answer({"access_token": "secret", "expires_in": 3600, "token_type": "Bearer"})
    google.answers["/iam/v1/x"] = Answer({})
    credentials = rest.default_credentials()
    assert rest.identity(credentials) == ADDRESS
    session = rest.authorized(credentials)
    GoogleApi(session, endpoint=f"{google.url}/{{api}}").get("iam", "v1/x")
    assert google.asked[-1].headers["authorization"] == "Bearer secret"


@pytest.mark.usefixtures("key_file")
def test_revoked_credentials_are_reported_in_one_line(google: GoogleServer) -> None:
    google.answers["/token"] = Answer({"error": "invalid_grant", "error_description": "Account deleted"}, status=400)
    credentials = rest.default_credentials()
    line = "the Google Cloud credentials do not work: invalid_grant: Account deleted (fix: gcloud auth "
    with pytest.raises(GoogleApiError) as raised:
        rest.identity(credentials)
    assert str(raised.value).startswith(line)
    session = rest.authorized(credentials)
    with pytest.raises(GoogleApiError) as raised:
        GoogleApi(session, endpoint=f"{google.url}/{{api}}").get("iam", "v1/x")
    assert str(raised.value).startswith(line)


def test_without_credentials_nothing_is_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(rest.ENDPOINT, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    with pytest.raises(GoogleApiError, match=r"no Google Cloud credentials: File .*gone\.json was not found"):
        GoogleApi.open()
