"""No record leads a request, with its access token, to a host other than Google's. Asserted where sockets open."""

from __future__ import annotations

import contextlib
import re
import socket
from dataclasses import replace
from typing import Any

import google.auth
import pytest
from google.oauth2.credentials import Credentials
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spot.core.errors import SpotError
from spot.core.run import Run
from spot.google import vertex
from spot.google.vertex import VertexJobs
from spot.storage.base import Damaged
from spot.storage.records.codec import encode
from spot.storage.records.ledger import decode
from tests.machinery import samples

RUN = samples.run(samples.attempt(region="us-central1"), id="20261124-000000-ab12")
VERTEX = re.compile(r"[a-z]+-[a-z]+[0-9]+-aiplatform\.googleapis\.com")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The hosts that anything in this process looks up or connects to. None is reached."""
    hosts: set[str] = set()

    def look_up(host: Any, *_: Any, **__: Any) -> Any:
        hosts.add(host.decode() if isinstance(host, bytes) else str(host))
        raise socket.gaierror(socket.EAI_NONAME, "no network in this test")

    def connect(_: socket.socket, address: Any) -> None:
        hosts.add(str(address))
        raise ConnectionRefusedError

    monkeypatch.delenv(vertex.ENDPOINT, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(google.auth, "default", lambda **_: (Credentials(token="secret"), "our-project"))  # type: ignore[no-untyped-call]
    return hosts


def send_all(run: Run) -> None:
    """Send every request that a reconcile can send for the newest attempt."""
    jobs, attempt = VertexJobs(give_up_s=0.001), run.attempts[-1]
    for call in (
        lambda: jobs.create(run, attempt),
        lambda: jobs.get(run, attempt),
        lambda: jobs.find(run, attempt),
        lambda: jobs.cancel(str(attempt.job)),
    ):
        with contextlib.suppress(SpotError):
            call()


def test_the_requests_of_a_valid_run_are_seen_at_the_socket(asked: set[str]) -> None:
    """Otherwise the next tests could not fail."""
    send_all(RUN)
    assert asked == {"us-central1-aiplatform.googleapis.com"}


HOSTS = st.sampled_from(["attacker.example.com", "127.0.0.1:8080", "[::1]", "evil"])
AROUND = st.sampled_from(
    ["", "?x=", "#", "/", "\n", "\\", "@", ".", "%2f", " ", "us-central1", "us-central1-aiplatform"]
)
REGIONS = st.tuples(AROUND, HOSTS, AROUND, AROUND).map("".join) | st.from_regex(
    r"[a-z]{2,9}-[a-z]{4,9}[0-9]", fullmatch=True
)
NAMES = st.one_of(
    REGIONS.map(lambda region: f"projects/1/locations/{region}/customJobs/1"),
    st.tuples(HOSTS, HOSTS).map(lambda pair: f"projects/{pair[0]}/locations/us-central1/customJobs/{pair[1]}"),
    st.text(st.sampled_from("a/.:@?#\n1"), max_size=30),
)


@given(region=REGIONS, job=st.none() | NAMES, project=st.just("our-project") | HOSTS)
@example(region="attacker.example.com?x=", job=None, project="our-project")
@example(region="us-central1", job="projects/1/locations/attacker.example.com?x=/customJobs/1", project="our-project")
@example(region="us-central1", job=None, project="x?@attacker.example.com/")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_ledger_leads_a_request_to_another_host(region: str, job: str | None, project: str, asked: set[str]) -> None:
    """The record is believed first, as if its check had failed, and then read as a reconcile reads it."""
    believed = replace(
        RUN, spec=replace(RUN.spec, project=project), attempts=(replace(RUN.attempts[0], region=region, job=job),)
    )
    send_all(believed)
    with contextlib.suppress(Damaged):
        send_all(decode(encode(believed), "object"))
    assert all(VERTEX.fullmatch(host) for host in asked), asked


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"region": "attacker.example.com?x="}, "'attacker.example.com?x=' is not a region: no request was sent"),
        ({"job": "projects/1/locations/x/customJobs/1"}, "is not the name of a job: no request was sent"),
    ],
)
def test_a_refused_request_says_what_was_refused(changes: dict[str, Any], says: str, asked: set[str]) -> None:
    run = replace(RUN, attempts=(replace(RUN.attempts[0], **changes),))
    call = VertexJobs().get if "job" in changes else VertexJobs().create
    with pytest.raises(SpotError, match=re.escape(says)):
        call(run, run.attempts[0])
    assert asked == set()
