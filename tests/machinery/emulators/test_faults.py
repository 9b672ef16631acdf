"""Test that every fault between the supervisor and Vertex AI can be injected, call by call."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from google.api_core import exceptions as api

from spot.core.job import JobState
from spot.core.run import Provisioning
from spot.emulators.faults import LostReply, Method
from spot.emulators.vertex_server import VertexServer
from tests.machinery.each import each
from tests.machinery.emulators.faults import Answer, Reset, Slow, first, no_machine, no_quota, on, rate_limit
from tests.machinery.emulators.test_vertex_server import PARENT, create, job
from tests.machinery.emulators.world import PROJECT, REGION, World


def count(world: World) -> int:
    return len(world.jobs.list(PROJECT, REGION).jobs)


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, api.Forbidden), (429, api.TooManyRequests), (500, api.InternalServerError), (503, api.ServiceUnavailable)],
)
def test_an_answer_in_place_of_the_effect(
    world: World, server: VertexServer, client: Any, status: int, error: type[Exception]
) -> None:
    server.rule = each(Answer(status, "not now"), count=1)
    with pytest.raises(error, match="not now"):
        create(client)
    assert count(world) == 0
    create(client)
    assert count(world) == 1


def test_a_connection_that_is_lost_before_the_call_took_effect(world: World, server: VertexServer, client: Any) -> None:
    server.rule = each(Reset(), count=1)
    with pytest.raises(requests.exceptions.ConnectionError):
        create(client)
    assert count(world) == 0
    create(client)


def test_a_reply_that_is_lost_after_the_call_took_effect(world: World, server: VertexServer, client: Any) -> None:
    seen: list[int] = []
    server.rule = each(LostReply(lambda: seen.append(count(world))), count=1)
    with pytest.raises(requests.exceptions.ConnectionError):
        create(client, run="r1", attempt="a01")
    assert seen == [1], "what happens meanwhile happens after the effect"
    found = list(client.list_custom_jobs(request={"parent": PARENT, "filter": 'labels.attempt="a01"'}))
    assert len(found) == 1


def test_a_cancel_whose_reply_is_lost_cancels(world: World, server: VertexServer, client: Any) -> None:
    name = create(client).name
    server.rule = each(LostReply(), where=on(Method.CANCEL))
    with pytest.raises(requests.exceptions.ConnectionError):
        client.cancel_custom_job(name=name)
    assert world.state(name) is JobState.CANCELLING


def test_a_reply_that_comes_too_late(world: World, server: VertexServer, client: Any) -> None:
    server.rule = each(Slow(30.0), count=1)
    with pytest.raises(requests.exceptions.ReadTimeout):
        client.create_custom_job(parent=PARENT, custom_job=job(), timeout=1.0)
    assert count(world) == 1


def test_a_slow_reply_does_not_hold_up_others_nor_the_end(world: World, server: VertexServer, client: Any) -> None:
    server.rule = each(Slow(3600.0), where=on(Method.LIST))
    with pytest.raises(requests.exceptions.ReadTimeout):
        client.list_custom_jobs(parent=PARENT, timeout=0.5)
    create(client)
    server.__exit__()
    assert count(world) == 1


def test_no_quota_in_one_region_for_one_kind(server: VertexServer, client: Any) -> None:
    server.rule = no_quota(REGION, Provisioning.SPOT, "nvidia_l4_gpus")
    with pytest.raises(api.TooManyRequests) as caught:
        create(client)
    assert caught.value.message.endswith(
        "The following quota metrics exceed quota limits:"
        " aiplatform.googleapis.com/custom_model_training_preemptible_nvidia_l4_gpus"
    )
    create(client, 3)
    client.create_custom_job(parent=f"projects/{PROJECT}/locations/us-east4", custom_job=job())
    client.list_custom_jobs(parent=PARENT)


def test_quota_of_on_demand_has_its_own_metric(server: VertexServer, client: Any) -> None:
    server.rule = no_quota(REGION, Provisioning.ON_DEMAND, "cpus")
    with pytest.raises(api.TooManyRequests, match=r"googleapis\.com/custom_model_training_cpus$"):
        create(client, 3)


def test_a_machine_that_a_region_does_not_know(server: VertexServer, client: Any) -> None:
    server.rule = no_machine("us-east4", "g2-standard-8")
    with pytest.raises(api.BadRequest, match=r'Machine type "g2-standard-8" is not supported\.$'):
        client.create_custom_job(parent=f"projects/{PROJECT}/locations/us-east4", custom_job=job())
    create(client)


def test_too_many_calls_are_another_429_than_quota(server: VertexServer, client: Any) -> None:
    server.rule = rate_limit(2)
    for _ in range(2):
        with pytest.raises(api.TooManyRequests, match="requests per minute per region") as caught:
            client.list_custom_jobs(parent=PARENT)
        assert "custom_model_training" not in str(caught.value)
    client.list_custom_jobs(parent=PARENT)


def test_the_first_rule_that_has_a_fault_decides(server: VertexServer, client: Any) -> None:
    once = each(Answer(503), where=on(Method.CREATE), count=1)
    server.rule = first(once, no_machine(REGION, "g2-standard-8"))
    with pytest.raises(api.ServiceUnavailable):
        create(client)
    with pytest.raises(api.BadRequest):
        create(client)
    client.list_custom_jobs(parent=PARENT)
