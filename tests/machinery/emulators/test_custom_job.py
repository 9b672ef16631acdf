"""Test that a create request is read, or refused, as by Vertex AI."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from spot.core.run import Provisioning
from spot.emulators.custom_job import InvalidJob, parse
from tests.machinery.emulators.world import custom_job


def scheduled(**scheduling: Any) -> Any:
    return parse(custom_job(scheduling=scheduling))


@pytest.mark.parametrize(
    ("strategy", "provisioning"),
    [
        (0, Provisioning.ON_DEMAND),
        (1, Provisioning.ON_DEMAND),
        (3, Provisioning.ON_DEMAND),
        ("STANDARD", Provisioning.ON_DEMAND),
        (4, Provisioning.SPOT),
        ("SPOT", Provisioning.SPOT),
        (6, Provisioning.FLEX_START),
        ("FLEX_START", Provisioning.FLEX_START),
    ],
)
def test_every_strategy_is_known_by_number_and_name(strategy: int | str, provisioning: Provisioning) -> None:
    assert scheduled(strategy=strategy).provisioning is provisioning


def test_without_scheduling_it_is_on_demand_for_seven_days() -> None:
    body = custom_job()
    del body["jobSpec"]["scheduling"]
    request = parse(body)
    assert (request.provisioning, request.timeout) == (Provisioning.ON_DEMAND, timedelta(days=7))


def test_durations_may_have_fractions() -> None:
    assert scheduled(timeout="1200.500s").timeout == timedelta(seconds=1200.5)


@pytest.mark.parametrize("scheduling", [{"timeout": "1h"}, {"maxWaitDuration": ""}, {"timeout": 5}])
def test_a_duration_that_is_none_is_refused(scheduling: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        scheduled(**scheduling)


@pytest.mark.parametrize("strategy", [2, 5, 7, "CHEAP", None])
def test_a_strategy_that_is_none_is_refused(strategy: object) -> None:
    with pytest.raises(InvalidJob, match=r"scheduling\.strategy"):
        scheduled(strategy=strategy)


@pytest.mark.parametrize("body", [None, 3, "x", [], {}, {"jobSpec": None}, {"jobSpec": {"workerPoolSpecs": [{}]}}])
def test_what_is_no_job_is_refused(body: object) -> None:
    with pytest.raises(InvalidJob, match="Invalid JSON payload"):
        parse(body)


def test_a_container_without_an_image_is_refused() -> None:
    body = custom_job()
    body["jobSpec"]["workerPoolSpecs"][0]["containerSpec"] = {"imageUri": ""}
    with pytest.raises(InvalidJob, match="image_uri is required"):
        parse(body)


def test_the_machines_of_all_pools_count() -> None:
    assert parse(custom_job(machines=4)).machines == 4


@pytest.mark.parametrize("count", ["0", "2", "many"])
def test_a_first_pool_of_more_than_the_primary_is_refused(count: str) -> None:
    body = custom_job(machines=2)
    body["jobSpec"]["workerPoolSpecs"][0]["replicaCount"] = count
    with pytest.raises(InvalidJob):
        parse(body)


@pytest.mark.parametrize("labels", [{"run": "A"}, {"Run": "a"}, {"run": "a.b"}, {"run": "x" * 64}, {"": "a"}])
def test_labels_that_google_does_not_take_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(InvalidJob, match="is not valid"):
        parse(custom_job(labels=labels))


def test_the_longest_label_is_taken() -> None:
    assert parse(custom_job(labels={"run": "x" * 63})).labels == {"run": "x" * 63}
