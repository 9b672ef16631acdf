"""Test whether the quota of a region allows the machines of an attempt."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from spot.config.settings import Settings
from spot.core.run import Machine, Provisioning, Strategy
from spot.doctor import quota
from spot.doctor.finding import Finding, Status
from spot.doctor.quota import Need, limit, needs
from spot.google.rest import GoogleApi
from tests.machinery.google.google_project import METRICS, SETTINGS, google_project, metric, settings_with
from tests.machinery.google.google_server import GoogleServer

STEM = "aiplatform.googleapis.com/custom_model_training_"


def machine(machine_type: str, accelerator: str | None, gpus: int, count: int = 1) -> Machine:
    return Machine(count=count, type=machine_type, accelerator=accelerator, accelerator_count=gpus, boot_disk_gb=100)


@pytest.fixture
def google() -> Iterator[GoogleServer]:
    with google_project() as server:
        yield server


def found(check: str, settings: Settings = SETTINGS) -> Finding:
    kind = Provisioning(check.partition(" ")[0])
    return next(finding for finding in quota.check(GoogleApi.open(), settings, kind) if finding.check == check)


def with_buckets(*buckets: dict[str, Any]) -> dict[str, Any]:
    """Return a ConsumerQuotaMetric."""
    return {
        "metric": f"{STEM}cpus",
        "consumerQuotaLimits": [{"unit": "1/{project}/{region}", "quotaBuckets": list(buckets)}],
    }


def test_a_spot_machine_takes_gpus_and_vcpus_of_the_preemptible_quota() -> None:
    assert needs(machine("g2-standard-24", "NVIDIA_L4", 2), Provisioning.SPOT) == (
        Need(metric=f"{STEM}preemptible_nvidia_l4_gpus", what="NVIDIA_L4", amount=2),
        Need(metric=f"{STEM}preemptible_cpus", what="vCPUs", amount=24),
    )


def test_an_on_demand_machine_takes_of_another_quota() -> None:
    assert needs(machine("a3-highgpu-8g", "NVIDIA_H100_80GB", 8), Provisioning.ON_DEMAND) == (
        Need(metric=f"{STEM}nvidia_h100_gpus", what="NVIDIA_H100_80GB", amount=8),
        Need(metric=f"{STEM}a3_cpus", what="vCPUs", amount=208),
    )


def test_several_machines_take_of_both_quotas_together() -> None:
    assert needs(machine("a2-highgpu-8g", "NVIDIA_TESLA_A100", 8, count=2), Provisioning.SPOT) == (
        Need(metric=f"{STEM}preemptible_nvidia_a100_gpus", what="NVIDIA_TESLA_A100", amount=16),
        Need(metric=f"{STEM}preemptible_cpus", what="vCPUs", amount=192),
    )
    assert needs(machine("z9-new-8", None, 0, count=2), Provisioning.SPOT)[0].amount is None


def test_a_machine_without_gpus_takes_vcpus_alone() -> None:
    assert needs(machine("n1-standard-8", None, 0), Provisioning.SPOT) == (
        Need(metric=f"{STEM}preemptible_cpus", what="vCPUs", amount=8),
    )


def test_flex_start_takes_of_the_quota_of_spot() -> None:
    l4 = machine("g2-standard-8", "NVIDIA_L4", 1)
    assert needs(l4, Provisioning.FLEX_START) == needs(l4, Provisioning.SPOT)


def test_a_strategy_needs_the_quota_of_what_it_may_submit() -> None:
    assert Strategy.SPOT.kinds == (Provisioning.SPOT,)
    assert Strategy.ON_DEMAND.kinds == (Provisioning.ON_DEMAND,)
    assert Strategy.HYBRID.kinds == (Provisioning.SPOT, Provisioning.ON_DEMAND)


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        pytest.param([{"effectiveLimit": "4", "defaultLimit": "1"}], 4, id="default"),
        pytest.param(
            [{"effectiveLimit": "4"}, {"effectiveLimit": "9", "dimensions": {"region": "us-east4"}}],
            9,
            id="the region's own before the default",
        ),
        pytest.param(
            [{"effectiveLimit": "4"}, {"effectiveLimit": "9", "dimensions": {"region": "us-west1"}}],
            4,
            id="not another region's",
        ),
        pytest.param(
            [{"effectiveLimit": "-1"}, {"effectiveLimit": "0", "dimensions": {"region": "us-east4"}}],
            0,
            id="a zero of the region before an unlimited default",
        ),
        pytest.param([{"effectiveLimit": "-1"}], math.inf, id="unlimited"),
        pytest.param([{}], 0, id="a zero that is left out"),
        pytest.param([{"dimensions": {"region": "us-east4"}}], 0, id="a zero of the region that is left out"),
        pytest.param([{"effectiveLimit": "9", "dimensions": {"region": "us-west1"}}], None, id="no default"),
        pytest.param([{"effectiveLimit": "9", "dimensions": {"region": "us-east4", "x": "y"}}], None, id="of a part"),
        pytest.param([], None, id="no buckets"),
    ],
)
def test_the_limit_of_a_region_is_its_own_or_the_default(buckets: list[dict[str, Any]], expected: float | None) -> None:
    assert limit(with_buckets(*buckets), "us-east4") == expected


def test_a_metric_that_is_not_there_has_no_limit_that_is_known() -> None:
    assert limit({}, "us-east4") is None


def test_of_several_limits_the_smallest_holds() -> None:
    both = with_buckets({"effectiveLimit": "4"})
    both["consumerQuotaLimits"] += with_buckets({"effectiveLimit": "2"})["consumerQuotaLimits"]
    assert limit(both, "us-east4") == 2


def test_too_small_a_quota_of_gpus_fails_in_its_region_alone(google: GoogleServer) -> None:
    google.answers[f"{METRICS}preemptible_nvidia_l4_gpus"] = metric(1, us_east4=0)
    assert found("spot quota us-central1, NVIDIA_L4").status is Status.OK
    short = found("spot quota us-east4, NVIDIA_L4")
    assert short.status is Status.FAILED
    assert short.detail == "limit 0, an attempt needs 1"
    assert short.fix == (
        "gcloud beta quotas preferences create --service=aiplatform.googleapis.com --project=my-project"
        " --quota-id=CustomModelTrainingPreemptibleL4GPUsPerProjectPerRegion --preferred-value=1"
        " --dimensions=region=us-east4 --email=YOUR-ADDRESS  # or remove us-east4 from [cloud] regions"
    )


def test_hybrid_without_on_demand_quota_fails_because_the_deadline_rests_on_it(google: GoogleServer) -> None:
    google.answers[f"{METRICS}nvidia_l4_gpus"] = metric(0)
    short = found("on-demand quota us-central1, NVIDIA_L4")
    assert short.status is Status.FAILED
    assert short.detail == "limit 0, an attempt needs 1"
    assert "--quota-id=CustomModelTrainingL4GPUsPerProjectPerRegion --preferred-value=1" in short.fix


def test_too_small_a_quota_of_vcpus_fails_although_there_are_gpus(google: GoogleServer) -> None:
    google.answers[f"{METRICS}preemptible_cpus"] = metric(1)
    short = found("spot quota us-central1, vCPUs")
    assert short.status is Status.FAILED
    assert short.detail == "limit 1, an attempt needs 8"
    assert "--quota-id=CustomModelTrainingPreemptibleCPUsPerProjectPerRegion --preferred-value=8" in short.fix


def test_a_quota_that_is_enough_for_one_machine_fails_for_two(google: GoogleServer) -> None:
    google.answers[f"{METRICS}preemptible_nvidia_l4_gpus"] = metric(1)
    settings = settings_with("hardware", count=2)
    for what, detail in (("NVIDIA_L4", "limit 1, an attempt needs 2"), ("vCPUs", "limit 8, an attempt needs 16")):
        short = found(f"spot quota us-central1, {what}", settings)
        assert (short.status, short.detail) == (Status.FAILED, detail)
        assert f"--preferred-value={detail.rpartition(' ')[2]} " in short.fix


@pytest.mark.usefixtures("google")
def test_no_limit_is_enough() -> None:
    assert found("on-demand quota us-east4, vCPUs").detail == "no limit, an attempt needs 8"


def test_a_quota_that_google_does_not_know_is_unknown(google: GoogleServer) -> None:
    del google.answers[f"{METRICS}nvidia_l4_gpus"]
    unknown = found("on-demand quota us-central1, NVIDIA_L4")
    assert unknown.status is Status.UNKNOWN
    assert unknown.detail == "the limit of aiplatform.googleapis.com/custom_model_training_nvidia_l4_gpus is not stated"
    assert unknown.fix.endswith(
        "and check that it allows 1 of aiplatform.googleapis.com/custom_model_training_nvidia_l4_gpus"
    )


def test_a_quota_too_small_fails_although_another_is_unknown(google: GoogleServer) -> None:
    del google.answers[f"{METRICS}nvidia_l4_gpus"]
    google.answers[f"{METRICS}g2_cpus"] = metric(4)
    short = found("on-demand quota us-central1, vCPUs")
    assert short.status is Status.FAILED
    assert "GPUs" not in short.fix


@pytest.mark.usefixtures("google")
def test_a_machine_whose_vcpus_are_not_known_leaves_its_quota_unknown() -> None:
    unknown = found("spot quota us-central1, vCPUs", settings_with("hardware", type="b9-newgpu-8g"))
    assert unknown.status is Status.UNKNOWN
    assert unknown.detail.endswith("preemptible_cpus is 8, and the need of an attempt is unknown")
