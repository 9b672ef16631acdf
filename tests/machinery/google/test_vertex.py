"""Test the Vertex AI client against the emulator: each answer, or none, has one meaning."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Protocol

import pytest

from spot.core.errors import PermissionDenied, TemporarilyUnavailable
from spot.core.job import JobError, JobSnapshot, JobState
from spot.core.run import Machine, Provisioning
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.faults import Injection, LostReply, Method
from spot.emulators.jobs import JobTable as Vertex
from spot.emulators.vertex_server import VertexServer
from spot.google import vertex
from spot.google.job_spec import labels
from spot.google.vertex import JobNotFound, RequestRejected, VertexJobs
from tests.machinery import samples
from tests.machinery.clocks import ManualClock
from tests.machinery.each import each
from tests.machinery.emulators.faults import (
    RATE_LIMIT,
    Answer,
    Reset,
    Slow,
    first,
    no_machine,
    no_quota,
    on,
    quota,
    unsupported,
)
from tests.machinery.emulators.idle import IdleLauncher, finish

RUN = samples.run(samples.attempt(job=None), id="20261124-060000-0a1b")
(ATTEMPT,) = RUN.attempts
REGION = ATTEMPT.region
UNKNOWN = f"projects/1/locations/{REGION}/customJobs/1"


def get(jobs: VertexJobs, name: str) -> JobSnapshot:
    """Ask for the job of this name, as that of `ATTEMPT`."""
    return jobs.get(RUN, replace(ATTEMPT, job=name))


Call = Callable[[VertexJobs, str], object]
"""One that may be repeated, of a job of this name."""
REPEATABLE: list[Call] = [
    get,
    lambda jobs, _name: jobs.find(RUN, ATTEMPT),
    lambda jobs, name: jobs.cancel(name),
]


class World:
    def __init__(self) -> None:
        self.clock, self.capacity = ManualClock(samples.T0), EmulatedCapacity()
        self.vertex = Vertex(self.capacity, IdleLauncher(), self.clock)

    def pass_time(self, **by: float) -> None:
        self.clock.advance(timedelta(**by))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def shared() -> Iterator[VertexServer]:
    with VertexServer(World().vertex) as server:
        yield server


@pytest.fixture(scope="module")
def client(shared: VertexServer) -> VertexJobs:
    """One that does not repeat a call."""
    return VertexJobs(shared.url, give_up_s=0.001)


@pytest.fixture
def server(shared: VertexServer, world: World) -> Iterator[VertexServer]:
    """Works, and knows no job."""
    shared.jobs = world.vertex
    shared.calls.clear()
    yield shared
    shared.rule = first()


@pytest.fixture
def jobs(client: VertexJobs, server: VertexServer) -> VertexJobs:  # noqa: ARG001  # the client is its
    return client


def line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert "http://" not in text
    return text


def test_a_job_is_created_followed_and_found(jobs: VertexJobs, world: World) -> None:
    created = jobs.create(RUN, ATTEMPT)
    assert (created.state, created.created_at) == (JobState.QUEUED, samples.T0)
    assert (created.started_at, created.ended_at, created.error) == (None, None, None)
    world.pass_time(hours=1)
    running = get(jobs, created.name)
    assert [running] == jobs.find(RUN, ATTEMPT)
    assert running.state is JobState.RUNNING
    assert running.started_at == samples.after(minutes=5.5)
    finish(world.vertex, created.name)
    assert get(jobs, created.name) == replace(running, state=JobState.SUCCEEDED, ended_at=samples.after(hours=1))


def test_a_job_of_two_machines_is_created_in_the_documented_form(jobs: VertexJobs, server: VertexServer) -> None:
    """As in the reference of projects.locations.customJobs: numbers for enums, int64 as text, durations in seconds."""
    machine = Machine(
        count=2, type="a2-highgpu-8g", accelerator="NVIDIA_TESLA_A100", accelerator_count=8, boot_disk_gb=200
    )
    run = replace(RUN, spec=samples.spec(machine=machine, arguments=("--batch-size", "64"), disable_retries=False))
    jobs.create(run, ATTEMPT)
    (call,) = server.calls
    assert call.request is not None
    pool = {
        "machineSpec": {"machineType": "a2-highgpu-8g", "acceleratorType": 8, "acceleratorCount": 8},
        "diskSpec": {"bootDiskSizeGb": 200},
        "containerSpec": {
            "imageUri": run.spec.image,
            "args": [
                *("--batch-size", "64", "--device", "cuda", "--run", RUN.id, "--attempt", "a1"),
                *("--output-dir", "gs://bucket/prefix/models", "--checkpoint-dir", "gs://bucket/prefix/checkpoints"),
                *("--tensorboard-dir", "gs://bucket/prefix/tensorboard"),
            ],
        },
        "replicaCount": "1",
    }
    assert call.request.spec == {
        "workerPoolSpecs": [pool, pool],
        "scheduling": {"strategy": 4, "timeout": "604800s", "restartJobOnWorkerRestart": True},
    }


def test_every_time_is_in_utc(jobs: VertexJobs, world: World) -> None:
    name = jobs.create(RUN, ATTEMPT).name
    world.pass_time(hours=1)
    finish(world.vertex, name)
    sighting = get(jobs, name)
    for moment in (sighting.created_at, sighting.started_at, sighting.ended_at):
        assert moment is not None
        assert moment.tzinfo is UTC


def test_a_job_is_found_by_the_labels_of_its_attempt_alone(jobs: VertexJobs) -> None:
    other_run, second = replace(RUN, id="another"), replace(ATTEMPT, id="a2")
    elsewhere = replace(ATTEMPT, region="us-east4")
    other_root = replace(RUN, spec=replace(RUN.spec, root="gs://bucket/another-prefix"))
    for run, attempt in ((other_run, ATTEMPT), (RUN, second), (RUN, elsewhere), (other_root, ATTEMPT)):
        jobs.create(run, attempt)
    assert jobs.find(RUN, ATTEMPT) == []
    ours = jobs.create(RUN, ATTEMPT)
    assert jobs.find(RUN, ATTEMPT) == [ours]


def test_a_job_is_found_among_more_than_one_page_of_them(jobs: VertexJobs, server: VertexServer) -> None:
    for _ in range(101):
        jobs.create(RUN, ATTEMPT)
    assert len(jobs.find(RUN, ATTEMPT)) == 101
    assert [call.method for call in server.calls[101:]] == [Method.LIST, Method.LIST]


def test_the_error_of_a_failed_job_is_kept_verbatim_once_it_arrives(jobs: VertexJobs, world: World) -> None:
    name = jobs.create(RUN, ATTEMPT).name
    world.pass_time(hours=1)
    world.vertex.preempt(name, save=True)
    failed = get(jobs, name)
    assert (failed.state, failed.error) == (JobState.FAILED, None)
    world.pass_time(minutes=2)
    assert get(jobs, name).error == samples.stockout(REGION)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (400, unsupported("g2-standard-8").message),
        (404, "The requested location does not exist."),
        (412, "A precondition failed."),
        (429, quota("nvidia_l4_gpus", Provisioning.SPOT).message),
        (429, RATE_LIMIT),
    ],
)
def test_a_create_that_is_refused_made_no_job_and_the_answer_is_kept_raw(
    code: int, message: str, jobs: VertexJobs, server: VertexServer
) -> None:
    server.rule = each(Answer(code, message))
    with pytest.raises(RequestRejected) as caught:
        jobs.create(RUN, ATTEMPT)
    assert caught.value.error == JobError(code=code, message=message)
    assert line(caught.value) == f"cannot create a1 of run {RUN.id} in us-central1: {message}"
    assert len(server.calls) == 1


def test_the_refusals_of_the_stand_in_arrive_as_it_says_them(jobs: VertexJobs, server: VertexServer) -> None:
    server.rule = no_quota(REGION, Provisioning.SPOT, "nvidia_l4_gpus")
    with pytest.raises(RequestRejected) as caught:
        jobs.create(RUN, ATTEMPT)
    assert caught.value.error == samples.no_quota()
    server.rule = no_machine(REGION, RUN.spec.machine.type)
    with pytest.raises(RequestRejected, match='Machine type "g2-standard-8" is not supported'):
        jobs.create(RUN, ATTEMPT)


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_denied_was_not_done(status: int, jobs: VertexJobs, world: World, server: VertexServer) -> None:
    name = world.vertex.create("our-project", REGION, vertex.wire(RUN, ATTEMPT)).name
    server.rule = each(Answer(status, "no"))
    calls: list[Call] = [lambda jobs, _name: jobs.create(RUN, ATTEMPT), *REPEATABLE]
    for call in calls:
        with pytest.raises(PermissionDenied) as caught:
            call(jobs, name)
        line(caught.value)
    assert len(world.vertex.list("our-project", REGION).jobs) == 1
    assert world.vertex.get(name).state is JobState.QUEUED


def named(fault: Injection) -> str:
    """Without the address of a function, which each process of the tests has elsewhere."""
    return f"{fault.status}" if isinstance(fault, Answer) else type(fault).__name__


@pytest.mark.parametrize(
    "fault", [*map(Answer, (408, 409, 425, 499, 500, 502, 503, 504)), Reset(), LostReply(), Slow(0.4)], ids=named
)
def test_a_create_that_is_not_answered_is_not_sent_again(
    fault: Injection, jobs: VertexJobs, world: World, server: VertexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vertex, "CREATE_S", 0.2)
    server.rule = each(fault)
    with pytest.raises(TemporarilyUnavailable) as caught:
        jobs.create(RUN, ATTEMPT)
    assert line(caught.value).startswith(f"cannot create a1 of run {RUN.id} in us-central1: ")
    assert len(server.calls) == 1
    server.rule = first()
    found = jobs.find(RUN, ATTEMPT)
    made = [job.name for job in world.vertex.list("our-project", REGION).jobs]
    assert made == [job.name for job in found]
    assert bool(made) is isinstance(fault, LostReply | Slow)


@pytest.mark.parametrize("call", REPEATABLE, ids=["get", "find", "cancel"])
@pytest.mark.parametrize("fault", [*map(Answer, (429, 500, 503)), Reset(), LostReply(), Slow(0.4)], ids=named)
def test_what_is_never_answered_is_unavailable(
    fault: Injection, call: Call, jobs: VertexJobs, server: VertexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vertex, "CALL_S", 0.2)
    name = jobs.create(RUN, ATTEMPT).name
    server.rule = each(fault)
    with pytest.raises(TemporarilyUnavailable) as caught:
        call(jobs, name)
    line(caught.value)


@pytest.mark.parametrize("call", REPEATABLE, ids=["get", "find", "cancel"])
def test_what_may_be_repeated_is(call: Call, server: VertexServer) -> None:
    patient = VertexJobs(server.url, give_up_s=10)
    name = patient.create(RUN, ATTEMPT).name
    server.calls.clear()
    server.rule = each(LostReply(), count=1)
    call(patient, name)  # about a quarter of a second, which is the library's first pause
    assert len(server.calls) == 2


def test_a_job_that_does_not_exist_is_gone(jobs: VertexJobs) -> None:
    with pytest.raises(JobNotFound) as caught:
        get(jobs, UNKNOWN)
    assert UNKNOWN in line(caught.value)


def test_a_job_with_the_labels_of_another_run_is_not_the_runs(jobs: VertexJobs) -> None:
    """Its name may stand in the record of a run that somebody wrote."""
    foreign = jobs.create(replace(RUN, id="another"), ATTEMPT)
    with pytest.raises(JobNotFound, match=r"does not have the labels labels\.root="):
        get(jobs, foreign.name)


def test_jobs_of_other_labels_in_an_answer_are_none_of_the_runs(says: Says) -> None:
    """A server that ignores the filter shows every job."""
    own = {"name": UNKNOWN, "createTime": "2026-11-24T02:00:00Z", "labels": labels(RUN, ATTEMPT)}
    older = {**own, "name": UNKNOWN[:-1] + "7", "createTime": "2026-11-24T01:00:00Z"}
    foreign = {**own, "name": UNKNOWN[:-1] + "8", "labels": {"run": RUN.id}}
    found = VertexJobs(says(json.dumps({"customJobs": [foreign, own, older]}).encode())).find(RUN, ATTEMPT)
    assert [job.name for job in found] == [older["name"], own["name"]]


def test_a_region_that_is_not_found_says_nothing_of_a_job(jobs: VertexJobs, server: VertexServer) -> None:
    server.rule = each(Answer(404, "The requested location does not exist."), where=on(Method.LIST))
    with pytest.raises(TemporarilyUnavailable, match="The requested location does not exist"):
        jobs.find(RUN, ATTEMPT)


def test_a_cancel_takes_effect_and_may_be_asked_for_again_and_too_late(jobs: VertexJobs, world: World) -> None:
    name = jobs.create(RUN, ATTEMPT).name
    jobs.cancel(name)
    jobs.cancel(name)
    assert get(jobs, name).state is JobState.CANCELLING
    world.pass_time(minutes=1)
    jobs.cancel(name)
    assert get(jobs, name).state is JobState.CANCELLED
    jobs.cancel(UNKNOWN)


class Says(Protocol):
    def __call__(self, body: bytes, status: int = 200) -> str: ...


@pytest.fixture
def says() -> Iterator[Says]:
    """The URL of a server that answers every request with this status and these bytes."""
    servers: list[HTTPServer] = []

    def serve(body: bytes, status: int = 200) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", "0")))
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815  # the name is http.server's

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.filterwarnings("ignore:Unrecognized JobState")
def test_a_state_that_is_not_known_yet_is_unspecified(says: Says) -> None:
    labelled = json.dumps(labels(RUN, ATTEMPT))
    body = (
        f'{{"name": "{UNKNOWN}", "state": 42, "createTime": "2026-11-24T00:00:00Z", "labels": {labelled}, "news": 1}}'
    )
    sighting = get(VertexJobs(says(body.encode())), UNKNOWN)
    assert sighting.state is JobState.UNSPECIFIED
    assert not sighting.state.ended


@pytest.mark.parametrize(
    "body", [b"<html>Sign in</html>", b'{"name": ', b"[]", b'{"state": {}}', b"{}", b'{"name": "x"}', b"\xff"]
)
def test_an_answer_that_is_none_is_unavailable(body: bytes, says: Says) -> None:
    jobs = VertexJobs(says(body), give_up_s=0.001)
    calls: list[Call] = [lambda jobs, _name: jobs.create(RUN, ATTEMPT), get]
    for call in calls:
        with pytest.raises(TemporarilyUnavailable, match="the answer is not Vertex AI's") as caught:
            call(jobs, UNKNOWN)
        line(caught.value)


@pytest.mark.parametrize("body", [b'{"error": "bad gateway"}', b'{"error": {"details": ["moved"]}}', b"7"])
def test_an_error_in_a_form_that_is_not_googles_is_unavailable(body: bytes, says: Says) -> None:
    jobs = VertexJobs(says(body, 502), give_up_s=0.001)
    calls: list[Call] = [lambda jobs, _name: jobs.create(RUN, ATTEMPT), *REPEATABLE]
    for call in calls:
        with pytest.raises(TemporarilyUnavailable, match="the answer is not Vertex AI's") as caught:
            call(jobs, UNKNOWN)
        line(caught.value)


def test_a_closed_port_is_unavailable() -> None:
    with socket.socket() as taken:  # bound, without a listener
        taken.bind(("127.0.0.1", 0))
        jobs = VertexJobs(f"http://127.0.0.1:{taken.getsockname()[1]}", give_up_s=0.001)
        calls: list[Call] = [lambda jobs, _name: jobs.create(RUN, ATTEMPT), *REPEATABLE]
        for call in calls:
            with pytest.raises(TemporarilyUnavailable):
                call(jobs, UNKNOWN)


def test_the_endpoint_can_be_set_for_the_whole_process(server: VertexServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vertex.ENDPOINT, server.url)
    VertexJobs("https://{region}.invalid").create(RUN, ATTEMPT)
    assert [call.method for call in server.calls] == [Method.CREATE]


def test_without_credentials_it_says_how_to_get_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(vertex.ENDPOINT, raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    calls: list[Call] = [lambda jobs, _name: jobs.create(RUN, ATTEMPT), get]
    for call in calls:
        with pytest.raises(PermissionDenied, match="gcloud auth application-default login") as caught:
            call(VertexJobs(), UNKNOWN)
        assert REGION in str(caught.value)
