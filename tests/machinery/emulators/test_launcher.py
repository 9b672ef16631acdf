"""Test that the container of a job gets the environment that Vertex AI sets."""

from __future__ import annotations

import json
from typing import Any

from spot.emulators.job_lifecycle import arguments, cluster_specs
from tests.machinery.emulators.world import custom_job


def spec(*flags: str) -> dict[str, Any]:
    job_spec: dict[str, Any] = custom_job()["jobSpec"]
    container = job_spec["workerPoolSpecs"][0]["containerSpec"]
    container["args"] = [*flags]
    return job_spec


def test_the_arguments_are_the_containers() -> None:
    assert arguments(spec("--epochs", "3")) == ["--epochs", "3"]


def test_each_replica_is_told_all_hosts_and_its_place() -> None:
    cluster = {"workerpool0": ["a:1"], "workerpool1": ["b:2", "c:3"]}
    told = [json.loads(text) for text in cluster_specs(custom_job(machines=3)["jobSpec"], ["a:1", "b:2", "c:3"])]
    assert [one["cluster"] for one in told] == [cluster] * 3
    places = [("workerpool0", 0), ("workerpool1", 0), ("workerpool1", 1)]
    assert [(one["task"]["type"], one["task"]["index"]) for one in told] == places
