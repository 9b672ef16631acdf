"""Test the create request as the client library sends it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from spot.core.run import Machine, Outcome, Provisioning, Run
from spot.google.job_spec import custom_job, label_filter, labels
from spot.google.vertex import wire
from tests.machinery import samples


def scheduling(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = wire(run, run.attempts[-1])["jobSpec"]["scheduling"]
    return found


def machines(count: int) -> Machine:
    return replace(samples.SPEC.machine, count=count)


def pool(run: Run) -> dict[str, Any]:
    (found,) = wire(run, run.attempts[-1])["jobSpec"]["workerPoolSpecs"]
    return dict(found)


def test_a_job_is_one_machine_with_the_image_and_the_account_that_were_asked_for() -> None:
    run = samples.run(samples.attempt(), service_account="trainer@our-project.iam.gserviceaccount.com")
    found = pool(run)
    assert found["machineSpec"] == {
        "machineType": "g2-standard-8",
        "acceleratorType": "NVIDIA_L4",
        "acceleratorCount": 1,
    }
    assert found["replicaCount"] == "1"
    assert found["containerSpec"]["imageUri"] == run.spec.image
    assert wire(run, run.attempts[0])["jobSpec"]["serviceAccount"] == "trainer@our-project.iam.gserviceaccount.com"


@pytest.mark.parametrize(
    ("gb", "disk_type", "asked"),
    [
        pytest.param(100, "", None, id="the default fits every machine type"),
        pytest.param(200, "", {"bootDiskSizeGb": 200}, id="a size"),
        pytest.param(
            100, "hyperdisk-balanced", {"bootDiskType": "hyperdisk-balanced", "bootDiskSizeGb": 100}, id="a type"
        ),
    ],
)
def test_a_boot_disk_is_asked_for_only_where_the_settings_state_one(
    gb: int, disk_type: str, asked: dict[str, Any] | None
) -> None:
    machine = replace(samples.SPEC.machine, boot_disk_gb=gb, boot_disk_type=disk_type)
    assert pool(samples.run(samples.attempt(), machine=machine)).get("diskSpec") == asked


def test_a_machine_without_a_gpu_names_none() -> None:
    machine = Machine(type="n2-standard-4", accelerator=None, accelerator_count=0, boot_disk_gb=100)
    assert pool(samples.run(samples.attempt(), machine=machine))["machineSpec"] == {"machineType": "n2-standard-4"}


def test_without_an_account_vertex_takes_its_own() -> None:
    run = samples.run(samples.attempt(), service_account="")
    assert "serviceAccount" not in wire(run, run.attempts[0])["jobSpec"]


def test_the_directories_come_after_the_flags_of_the_run_which_cannot_redirect_them() -> None:
    arguments = pool(samples.run(samples.attempt()))["containerSpec"]["args"]
    assert arguments == [
        *("--epochs", "20"),
        *("--device", "cuda"),
        *("--run", "run-1", "--attempt", "a1"),
        *("--output-dir", "gs://bucket/prefix/models"),
        *("--checkpoint-dir", "gs://bucket/prefix/checkpoints"),
        *("--tensorboard-dir", "gs://bucket/prefix/tensorboard"),
    ]


def test_a_gpu_that_is_paid_for_is_insisted_on_unless_the_flags_name_a_device() -> None:
    without = Machine(type="n2-standard-4", accelerator=None, accelerator_count=0, boot_disk_gb=100)
    assert "--device" not in pool(samples.run(samples.attempt(), machine=without))["containerSpec"]["args"]
    chosen = ("--device", "auto", "--epochs", "20")
    arguments = pool(samples.run(samples.attempt(), arguments=chosen))["containerSpec"]["args"]
    assert arguments.count("--device") == 1
    assert tuple(arguments[:4]) == chosen


@pytest.mark.parametrize(
    ("provisioning", "strategy"),
    [
        (Provisioning.SPOT, "SPOT"),
        (Provisioning.FLEX_START, "FLEX_START"),
        (Provisioning.ON_DEMAND, "STANDARD"),
    ],
)
def test_every_provisioning_has_its_strategy(provisioning: Provisioning, strategy: str) -> None:
    attempt = samples.attempt(provisioning=provisioning, timeout=timedelta(hours=5, seconds=0.9))
    found = scheduling(samples.run(attempt, provisioning_timeout=timedelta(minutes=20)))
    assert found["strategy"] == strategy
    assert found["timeout"] == "18000s"
    assert found.get("maxWaitDuration") == ("1200s" if provisioning is Provisioning.FLEX_START else None)
    assert found.get("restartJobOnWorkerRestart", False) is False


@pytest.mark.parametrize("provisioning", Provisioning)
@pytest.mark.parametrize("disable_retries", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_a_job_of_several_machines_restarts_as_a_whole_or_not_at_all(
    provisioning: Provisioning, disable_retries: bool, count: int
) -> None:
    run = samples.run(
        samples.attempt(provisioning=provisioning), machine=machines(count), disable_retries=disable_retries
    )
    found = scheduling(run)
    assert found.get("restartJobOnWorkerRestart", False) is (count > 1 and not found.get("disableRetries", False))


def test_the_first_worker_pool_has_one_machine_and_the_second_the_others_with_the_same_container() -> None:
    run = samples.run(samples.attempt(), machine=machines(5))
    first, second = wire(run, run.attempts[0])["jobSpec"]["workerPoolSpecs"]
    assert (first["replicaCount"], second["replicaCount"]) == ("1", "4")
    assert {**first, "replicaCount": ""} == {**second, "replicaCount": ""}


def test_the_trainer_gets_no_flag_for_its_world() -> None:
    one, five = (samples.run(samples.attempt(), machine=machines(count)) for count in (1, 5))
    assert pool(one)["containerSpec"] == wire(five, five.attempts[0])["jobSpec"]["workerPoolSpecs"][1]["containerSpec"]


@pytest.mark.parametrize("provisioning", Provisioning)
@pytest.mark.parametrize("wanted", [True, False])
def test_vertex_is_asked_not_to_restart_spot_by_itself_and_only_where_that_is_wanted(
    provisioning: Provisioning, wanted: bool
) -> None:
    found = scheduling(samples.run(samples.attempt(provisioning=provisioning), disable_retries=wanted))
    assert found.get("disableRetries", False) is (wanted and provisioning is Provisioning.SPOT)


def test_a_job_can_be_found_again_by_what_it_is_labelled_with() -> None:
    run = samples.run(samples.ended(Outcome.PREEMPTED), samples.attempt())
    attempt = run.attempts[1]
    given = custom_job(run, attempt)["labels"]
    assert {name: given[name] for name in ("run", "attempt")} == {"run": "run-1", "attempt": "a2"}
    assert all(re.fullmatch(r"[a-z0-9_-]{1,63}", value) for value in given.values())
    assert dict(re.findall(r'labels\.(\w+)="([^"]*)"', label_filter(labels(run, attempt)))) == given


def test_a_job_of_another_repository_with_the_same_run_and_attempt_is_not_ours() -> None:
    run = samples.run(samples.attempt())
    other = samples.run(samples.attempt(), root="gs://bucket/another-prefix")
    assert labels(run, run.attempts[0]) != labels(other, other.attempts[0])
