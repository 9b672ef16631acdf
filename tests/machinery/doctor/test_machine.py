"""Test that each region needs a zone with both the machine type and the GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spot.config.settings import Settings
from spot.doctor import machine
from spot.doctor.finding import Finding, Status
from spot.google.machine_types import build_for
from spot.google.rest import GoogleApi
from tests.machinery.google.google_project import (
    ACCELERATOR_TYPES,
    MACHINE_TYPES,
    SETTINGS,
    aggregated,
    google_project,
    settings_with,
)
from tests.machinery.google.google_server import GoogleServer


@pytest.fixture
def google() -> Iterator[GoogleServer]:
    with google_project() as server:
        yield server


def found(check: str, settings: Settings = SETTINGS) -> Finding:
    findings = machine.check(GoogleApi.open(), settings)
    assert [finding.check for finding in findings] == ["machine us-central1", "machine us-east4"]
    return next(finding for finding in findings if finding.check == check)


def test_a_machine_type_must_be_in_each_region(google: GoogleServer) -> None:
    google.answers[MACHINE_TYPES] = aggregated("machineTypes", "g2-standard-8", "us-central1-a", "us-east41-a")
    google.answers[ACCELERATOR_TYPES] = aggregated("acceleratorTypes", "nvidia-l4", "us-central1-a", "us-east41-a")
    assert found("machine us-central1").detail == "g2-standard-8 with NVIDIA_L4 is in us-central1-a"
    missing = found("machine us-east4")
    assert missing.status is Status.FAILED
    assert missing.detail == "no zone of us-east4 has g2-standard-8 with NVIDIA_L4"
    assert missing.fix == (
        'gcloud compute machine-types list --project=my-project --filter="name=g2-standard-8" --format="value(zone)"'
        "  # and set [cloud] regions in spot.toml"
    )


def test_a_machine_type_and_its_gpu_must_be_in_the_same_zone(google: GoogleServer) -> None:
    google.answers[ACCELERATOR_TYPES] = aggregated("acceleratorTypes", "nvidia-l4", "us-central1-b", "us-east4-a")
    assert found("machine us-central1").status is Status.FAILED
    assert found("machine us-east4").status is Status.OK


def test_zones_are_gathered_from_every_page(google: GoogleServer) -> None:
    google.answers[MACHINE_TYPES] = [
        aggregated("machineTypes", "g2-standard-8", token="t"),
        aggregated("machineTypes", "g2-standard-8", "us-central1-a", "us-east4-a"),
    ]
    assert found("machine us-east4").status is Status.OK
    assert [asked.query["filter"] for asked in google.asked if asked.path == MACHINE_TYPES] == [
        ["name=g2-standard-8"],
        ["name=g2-standard-8"],
    ]


def test_a_machine_of_another_name_does_not_count(google: GoogleServer) -> None:
    google.answers[MACHINE_TYPES] = aggregated("machineTypes", "g2-standard-80", "us-central1-a", "us-east4-a")
    assert found("machine us-central1").status is Status.FAILED


def test_without_a_gpu_none_is_looked_for(google: GoogleServer) -> None:
    assert found("machine us-central1", settings_with("hardware", accelerator="none")).status is Status.OK
    assert google.paths() == [MACHINE_TYPES]


def test_the_lock_says_which_driver_it_needs(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"folder": tmp_path})
    [finding] = machine.driver(settings)
    assert finding.status is Status.UNKNOWN
    assert "locks/cuda.txt needs the NVIDIA driver R580 or newer" in finding.detail
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/cu126.txt").touch()
    assert [one.status for one in machine.driver(settings)] == [Status.OK]
    assert build_for("NVIDIA_B200", tmp_path / "locks") == "cuda"
    assert build_for(None, tmp_path / "locks") == "cpu"


def test_a_region_whose_training_lacks_the_gpu_fails_although_compute_engine_has_it(google: GoogleServer) -> None:
    zones = ("us-central1-a", "us-east4-a")
    google.answers[MACHINE_TYPES] = aggregated("machineTypes", "n1-standard-8", *zones)
    google.answers[ACCELERATOR_TYPES] = aggregated("acceleratorTypes", "nvidia-tesla-t4", *zones)
    t4 = settings_with("hardware", type="n1-standard-8", accelerator="NVIDIA_TESLA_T4")
    here, there = machine.check(GoogleApi.open(), t4)
    assert (here.status, there.status) == (Status.OK, Status.FAILED)
    assert there.detail == "Vertex AI does not train with NVIDIA_TESLA_T4 in us-east4"
