"""Test that Google's client library works with the emulator, including its errors."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from google.api_core import exceptions as api

from spot.core.errors import SpotError
from spot.core.job import JobState
from spot.core.run import Provisioning
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.faults import Call, Method
from spot.emulators.jobs import JobTable
from spot.emulators.vertex_server import VertexServer
from spot.simulation.traces import read
from tests.machinery.clocks import START, ManualClock
from tests.machinery.emulators.idle import IdleLauncher
from tests.machinery.emulators.world import PROJECT, REGION, World, custom_job

PARENT = f"projects/{PROJECT}/locations/{REGION}"


def job(strategy: int = 4, **labels: str) -> dict[str, Any]:
    """A CustomJob as the client library takes it."""
    pool = {
        "machine_spec": {"machine_type": "g2-standard-8", "accelerator_type": "NVIDIA_L4", "accelerator_count": 1},
        "replica_count": 1,
        "disk_spec": {"boot_disk_type": "pd-ssd", "boot_disk_size_gb": 100},
        "container_spec": {"image_uri": "example/trainer@sha256:0", "args": ["--epochs", "3"]},
    }
    scheduling = {
        "strategy": strategy,
        "timeout": timedelta(hours=24),
        "disable_retries": True,
        "max_wait_duration": timedelta(minutes=20),
    }
    return {
        "display_name": "retrain",
        "labels": labels,
        "job_spec": {"worker_pool_specs": [pool], "scheduling": scheduling, "service_account": "training@example"},
    }


def create(client: Any, strategy: int = 4, **labels: str) -> Any:
    return client.create_custom_job(parent=PARENT, custom_job=job(strategy, **labels), timeout=60)


def ids(jobs: Any) -> list[str]:
    return [each.name.rpartition("/")[2][-2:] for each in jobs]


@pytest.mark.parametrize("strategy", [3, 4, 6])
def test_what_is_created_is_read_back(client: Any, strategy: int) -> None:
    created = create(client, strategy, run="r1", attempt="a01")
    read = client.get_custom_job(name=created.name, timeout=60)
    assert read == created
    assert int(read.state) == JobState.QUEUED
    assert dict(read.labels) == {"run": "r1", "attempt": "a01"}
    assert read.create_time == START
    scheduling = read.job_spec.scheduling
    assert int(scheduling.strategy) == strategy
    assert (scheduling.timeout, scheduling.max_wait_duration) == (timedelta(hours=24), timedelta(minutes=20))
    assert scheduling.disable_retries
    pool = read.job_spec.worker_pool_specs[0]
    assert (pool.machine_spec.machine_type, pool.machine_spec.accelerator_type.name) == ("g2-standard-8", "NVIDIA_L4")
    assert list(pool.container_spec.args) == ["--epochs", "3"]
    assert read.job_spec.service_account == "training@example"


def test_a_life_as_the_client_sees_it(world: World, client: Any) -> None:
    name = create(client).name
    world.advance(minutes=5)
    assert int(client.get_custom_job(name=name).state) == JobState.PENDING
    world.advance(minutes=5)
    running = client.get_custom_job(name=name)
    assert (int(running.state), running.start_time) == (JobState.RUNNING, START + timedelta(minutes=10))
    assert not running.end_time
    world.jobs.preempt(name, save=True)
    failed = client.get_custom_job(name=name)
    assert (int(failed.state), failed.end_time) == (JobState.FAILED, START + timedelta(minutes=10))
    assert not failed.error.code
    assert not failed.error.message
    world.advance(minutes=1)
    error = client.get_custom_job(name=name).error
    assert error.code == 8
    assert error.message.startswith("Resources are insufficient in region: us-central1. Try a different region")


def test_a_job_is_named_by_the_number_of_its_project_and_found_by_either(client: Any) -> None:
    name = create(client).name
    number = name.split("/")[1]
    assert number.isdecimal()
    assert client.get_custom_job(name=name.replace(number, PROJECT)).name == name
    assert ids(client.list_custom_jobs(parent=f"projects/{number}/locations/{REGION}")) == ["01"]


def test_a_cancel_returns_at_once_and_takes_effect_later(world: World, client: Any) -> None:
    name = create(client).name
    world.advance(minutes=10)
    assert client.cancel_custom_job(name=name) is None
    assert int(client.get_custom_job(name=name).state) == JobState.CANCELLING
    world.advance(minutes=5)
    cancelled = client.get_custom_job(name=name)
    assert (int(cancelled.state), cancelled.error.code) == (JobState.CANCELLED, 1)
    with pytest.raises(api.BadRequest, match="is CANCELLED and cannot be cancelled"):
        client.cancel_custom_job(name=name)


class TestAList:
    def test_has_the_jobs_of_its_region_newest_first_over_as_many_pages_as_it_takes(
        self, client: Any, server: VertexServer
    ) -> None:
        for _ in range(5):
            create(client)
        client.create_custom_job(parent=f"projects/{PROJECT}/locations/us-east4", custom_job=job())
        found = client.list_custom_jobs(request={"parent": PARENT, "page_size": 2})
        assert ids(found) == ["05", "04", "03", "02", "01"]
        assert [call.method for call in server.calls].count(Method.LIST) == 3

    def test_does_not_lose_or_repeat_a_job_when_others_are_created_between_its_pages(self, client: Any) -> None:
        for _ in range(4):
            create(client)
        first = client.list_custom_jobs(request={"parent": PARENT, "page_size": 3})
        token = first.next_page_token
        create(client)
        second = client.list_custom_jobs(request={"parent": PARENT, "page_size": 3, "page_token": token})
        assert ids(second) == ["01"]

    def test_can_be_filtered_by_labels(self, client: Any) -> None:
        create(client, run="r1", attempt="a01")
        create(client, run="r1", attempt="a02")
        create(client, run="r11", attempt="a01")

        def found(text: str) -> list[str]:
            return ids(client.list_custom_jobs(request={"parent": PARENT, "filter": text, "page_size": 1}))

        assert found('labels.run="r1"') == ["02", "01"]
        assert found('labels.run="r1" AND labels.attempt="a01"') == ["01"]
        assert found('labels.run="nobody"') == []

    @pytest.mark.parametrize("size", [0, 1000])
    def test_has_a_hundred_jobs_on_a_page_if_no_less_are_wanted(self, world: World, client: Any, size: int) -> None:
        for _ in range(101):
            world.create()
        pages = client.list_custom_jobs(request={"parent": PARENT, "page_size": size}).pages
        assert [len(page.custom_jobs) for page in pages] == [100, 1]

    def test_with_a_filter_or_a_token_that_cannot_be_read_is_refused(self, client: Any) -> None:
        with pytest.raises(api.BadRequest, match="The provided filter is not valid: 'run = r1'"):
            client.list_custom_jobs(request={"parent": PARENT, "filter": "run = r1"})
        with pytest.raises(api.BadRequest, match="The page token is not valid: 'x'"):
            client.list_custom_jobs(request={"parent": PARENT, "page_token": "x"})


@pytest.mark.parametrize("name", ["12", "1000000000000000001"])
def test_an_unknown_job_is_not_found(client: Any, name: str) -> None:
    created = create(client).name
    elsewhere = f"projects/{PROJECT}/locations/us-east4/customJobs/{name}"
    assert elsewhere != created
    with pytest.raises(api.NotFound, match="The CustomJob does not exist"):
        client.get_custom_job(name=elsewhere)
    with pytest.raises(api.NotFound):
        client.cancel_custom_job(name=elsewhere)


def test_a_job_that_is_none_is_refused_and_does_not_exist(world: World, client: Any) -> None:
    with pytest.raises(api.BadRequest, match="not a CustomJob"):
        client.create_custom_job(parent=PARENT, custom_job={"display_name": "empty"})
    with pytest.raises(api.BadRequest, match="Label run=Upper is not valid"):
        create(client, run="Upper")
    assert world.jobs.list(PROJECT, REGION).jobs == ()


def test_two_creates_make_two_jobs(client: Any) -> None:
    assert create(client, run="r", attempt="a").name != create(client, run="r", attempt="a").name


def test_creates_at_the_same_time_get_different_names(world: World, client: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = {each.name for each in pool.map(lambda _: create(client), range(24))}
    assert len(names) == 24
    assert {each.name for each in world.jobs.list(PROJECT, REGION).jobs} == names


def test_every_call_is_noted_with_what_it_is_about(client: Any, server: VertexServer) -> None:
    name = create(client, 6, run="r1").name
    client.get_custom_job(name=name)
    first, second = server.calls
    assert first.request is not None
    assert (first.request.provisioning, first.request.labels) == (Provisioning.FLEX_START, {"run": "r1"})
    assert second == Call(
        method=Method.GET,
        project=name.split("/")[1],
        region=REGION,
        job=name.rpartition("/")[2],
        request=None,
    )


def test_what_it_cannot_answer_is_an_internal_error(tmp_path: Any, connect: Callable[[str], Any]) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("scheduled_at_utc,us-east4-a\n2025-10-04T00:10:00Z,1\n")
    jobs = JobTable(EmulatedCapacity(measured=(read(path), START)), IdleLauncher(), ManualClock())
    with (
        VertexServer(jobs) as server,
        pytest.raises(api.InternalServerError, match=r"SpotError: .*us-central1.*us-east4"),
    ):
        create(connect(server.url))
    with pytest.raises(SpotError):
        jobs.create(PROJECT, REGION, custom_job())
    jobs.advance()


class TestWithoutTheClient:
    @pytest.fixture
    def ask(self, server: VertexServer) -> Callable[..., tuple[int, Any]]:
        def ask(method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            answer = response.status, json.loads(response.read())
            connection.close()
            return answer

        return ask

    def test_enums_are_numbers_and_long_numbers_are_strings(self, ask: Callable[..., tuple[int, Any]]) -> None:
        status, answer = ask("POST", f"/v1/{PARENT}/customJobs", json.dumps(custom_job()).encode())
        assert (status, answer["state"]) == (200, 1)
        assert answer["jobSpec"]["workerPoolSpecs"][0]["replicaCount"] == "1"
        assert answer["createTime"] == "2026-11-23T06:00:00.000000Z"
        assert not {"startTime", "endTime", "error"} & answer.keys()

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"jobSpec": {"workerPoolSpecs": []}}'])
    def test_a_broken_body_is_refused_as_google_does(
        self, ask: Callable[..., tuple[int, Any]], world: World, body: bytes
    ) -> None:
        status, answer = ask("POST", f"/v1/{PARENT}/customJobs", body)
        assert (status, answer["error"]["code"]) == (400, 400)
        assert world.jobs.list(PROJECT, REGION).jobs == ()

    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "/"), ("GET", "/v1/projects/p/locations/l/jobs"), ("POST", f"/v1/{PARENT}/customJobs/1:pause")],
    )
    def test_another_address_is_not_found(self, ask: Callable[..., tuple[int, Any]], method: str, path: str) -> None:
        status, answer = ask(method, path)
        assert (status, answer["error"]["code"]) == (404, 404)


def test_it_listens_on_this_machine_only(server: VertexServer) -> None:
    assert server.url.startswith("http://127.0.0.1:")
