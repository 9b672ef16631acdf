"""Test the table of machine families and the names of GPUs."""

from __future__ import annotations

import pytest

from spot.google.machine_types import (
    PRICED,
    compute_engine_name,
    cpu_quota,
    flex_start_offers,
    gpu_quota,
    on_demand_offers,
    quota_id,
    training_regions,
    vcpus,
    wrong_accelerator,
    wrong_count,
)
from spot.pricing.table import packaged


@pytest.mark.parametrize(
    ("machine_type", "accelerator"),
    [
        ("a2-highgpu-1g", "NVIDIA_TESLA_A100"),
        ("a2-megagpu-16g", "NVIDIA_TESLA_A100"),
        ("a2-ultragpu-1g", "NVIDIA_A100_80GB"),
        ("a3-highgpu-8g", "NVIDIA_H100_80GB"),
        ("a3-megagpu-8g", "NVIDIA_H100_MEGA_80GB"),
        ("a3-ultragpu-8g", "NVIDIA_H200_141GB"),
        ("g2-standard-8", "NVIDIA_L4"),
        ("n1-standard-8", "NVIDIA_TESLA_T4"),
        ("g4-standard-48", "NVIDIA_RTX_PRO_6000"),
        ("a4-highgpu-8g", "NVIDIA_B200"),
        ("n1-standard-8", "none"),
        ("e2-standard-8", "none"),
        ("z9-standard-8", "NVIDIA_L4"),
        ("z9-standard-8", "none"),
    ],
)
def test_what_goes_together_or_is_not_known_is_accepted(machine_type: str, accelerator: str) -> None:
    assert wrong_accelerator(machine_type, accelerator) is None


@pytest.mark.parametrize(
    ("machine_type", "accelerator", "allowed"),
    [
        ("a2-highgpu-1g", "NVIDIA_L4", "a2-highgpu-1g goes with NVIDIA_TESLA_A100"),
        ("a2-highgpu-1g", "NVIDIA_A100_80GB", "a2-highgpu-1g goes with NVIDIA_TESLA_A100"),
        ("a2-ultragpu-1g", "NVIDIA_TESLA_A100", "a2-ultragpu-1g goes with NVIDIA_A100_80GB"),
        ("g2-standard-8", "NVIDIA_TESLA_T4", "g2-standard-8 goes with NVIDIA_L4"),
        ("g2-standard-8", "none", "g2-standard-8 goes with NVIDIA_L4"),
        ("a2-highgpu-1g", "none", "a2-highgpu-1g goes with NVIDIA_TESLA_A100"),
        ("a3-highgpu-1g", "none", "a3-highgpu-1g goes with NVIDIA_H100_80GB"),
        ("n1-standard-8", "NVIDIA_L4", "NVIDIA_TESLA_T4 or none"),
        ("n1-standard-8", "NVIDIA_TESLA_V100", "no longer supports NVIDIA_TESLA_V100"),
        ("n1-standard-8", "NVIDIA_TESLA_P100", "no longer supports NVIDIA_TESLA_P100"),
        ("n1-standard-8", "NVIDIA_TESLA_P4", "no longer supports NVIDIA_TESLA_P4"),
        ("e2-standard-8", "NVIDIA_TESLA_T4", "e2-standard-8 goes with none"),
    ],
)
def test_what_cannot_go_together_is_refused_with_what_does(machine_type: str, accelerator: str, allowed: str) -> None:
    assert allowed in str(wrong_accelerator(machine_type, accelerator))


@pytest.mark.parametrize(
    ("machine_type", "count"),
    [
        ("a2-highgpu-1g", 1),
        ("a2-megagpu-16g", 16),
        ("a3-highgpu-8g", 8),
        ("g2-standard-8", 1),
        ("g2-standard-32", 1),
        ("g2-standard-24", 2),
        ("g2-standard-96", 8),
        ("g2-standard-7", 3),
        ("n1-standard-8", 4),
        ("z9-standard-8", 5),
    ],
)
def test_the_count_is_the_built_in_one_or_free(machine_type: str, count: int) -> None:
    assert wrong_count(machine_type, "NVIDIA_L4", count) is None


@pytest.mark.parametrize(
    ("machine_type", "count", "has"),
    [("a2-highgpu-1g", 2, 1), ("a3-highgpu-8g", 1, 8), ("g2-standard-24", 1, 2), ("g4-standard-96", 1, 2)],
)
def test_another_count_than_the_built_in_one_is_refused(machine_type: str, count: int, has: int) -> None:
    assert wrong_count(machine_type, "NVIDIA_L4", count) == f"{machine_type} has {has}"


@pytest.mark.parametrize(
    ("machine_type", "gpu", "numbers"),
    [
        ("n1-standard-8", "T4", "1 or 2 or 4"),
        ("n1-standard-96", "T4", "4"),
    ],
)
def test_an_n1_machine_takes_some_numbers_of_gpus_only(machine_type: str, gpu: str, numbers: str) -> None:
    name = f"NVIDIA_TESLA_{gpu}"
    refused = {count: wrong_count(machine_type, name, count) for count in range(1, 17)}

    assert " or ".join(str(count) for count, said in refused.items() if said is None) == numbers
    assert {said for said in refused.values() if said} == {f"{machine_type} goes with {numbers} {name}"}


@pytest.mark.parametrize(
    ("accelerator", "offered"),
    [
        *((name, True) for name in ("NVIDIA_L4", "NVIDIA_A100_80GB", "NVIDIA_H100_MEGA_80GB", "NVIDIA_B200")),
        *((name, False) for name in ("NVIDIA_TESLA_T4", "NVIDIA_RTX_PRO_6000", None)),
    ],
)
def test_flex_start_has_some_gpus_only(accelerator: str | None, offered: bool) -> None:
    assert flex_start_offers(accelerator) is offered


@pytest.mark.parametrize(
    ("machine_type", "expected"),
    [
        ("g2-standard-8", 8),
        ("g2-standard-96", 96),
        ("g4-standard-384", 384),
        ("n1-standard-8", 8),
        ("n1-highmem-16", 16),
        ("n1-highcpu-96", 96),
        ("m1-ultramem-40", 40),
        ("c3-standard-22-lssd", 22),
        ("a2-highgpu-1g", 12),
        ("a2-highgpu-8g", 96),
        ("a2-megagpu-16g", 96),
        ("a2-ultragpu-4g", 48),
        ("a3-highgpu-1g", 26),
        ("a3-highgpu-8g", 208),
        ("a3-megagpu-8g", 208),
        ("a3-ultragpu-8g", 224),
        ("a4-highgpu-8g", 224),
    ],
)
def test_the_vcpus_of_a_machine_type_are_read_from_its_name(machine_type: str, expected: int) -> None:
    assert vcpus(machine_type) == expected


@pytest.mark.parametrize(
    "machine_type", ["", "e2-medium", "f1-micro", "a2-highgpu-3g", "b9-newgpu-8g", "g2-standard-0"]
)
def test_vcpus_are_not_guessed(machine_type: str) -> None:
    assert vcpus(machine_type) is None


@pytest.mark.parametrize(
    ("accelerator", "in_quotas", "in_compute_engine"),
    [
        ("NVIDIA_L4", "L4", "nvidia-l4"),
        ("NVIDIA_TESLA_T4", "T4", "nvidia-tesla-t4"),
        ("NVIDIA_TESLA_A100", "A100", "nvidia-tesla-a100"),
        ("NVIDIA_A100_80GB", "A10080GB", "nvidia-a100-80gb"),
        ("NVIDIA_H100_80GB", "H100", "nvidia-h100-80gb"),
        ("NVIDIA_H100_MEGA_80GB", "H100MEGA", "nvidia-h100-mega-80gb"),
        ("NVIDIA_H200_141GB", "H200", "nvidia-h200-141gb"),
        ("NVIDIA_B200", "B200", "nvidia-b200"),
        ("NVIDIA_NEW", "NEW", "nvidia-new"),
    ],
)
def test_a_gpu_has_another_name_in_quotas_and_in_compute_engine(
    accelerator: str, in_quotas: str, in_compute_engine: str
) -> None:
    spot = quota_id(gpu_quota(accelerator, on_demand=False))
    assert spot == f"CustomModelTrainingPreemptible{in_quotas}GPUsPerProjectPerRegion"
    on_demand = quota_id(gpu_quota(accelerator, on_demand=True))
    assert on_demand == f"CustomModelTraining{in_quotas}GPUsPerProjectPerRegion"
    assert compute_engine_name(accelerator) == in_compute_engine


@pytest.mark.parametrize(
    ("machine_type", "on_demand", "named"),
    [
        ("n1-standard-8", "custom_model_training_cpus", "CustomModelTrainingCPUsPerProjectPerRegion"),
        ("e2-standard-8", "custom_model_training_cpus", "CustomModelTrainingCPUsPerProjectPerRegion"),
        ("g2-standard-8", "custom_model_training_g2_cpus", "CustomModelTrainingG2CPUsPerProjectPerRegion"),
        ("a2-ultragpu-1g", "custom_model_training_a2_cpus", "CustomModelTrainingA2CPUsPerProjectPerRegion"),
        ("a3-highgpu-8g", "custom_model_training_a3_cpus", "CustomModelTrainingA3CPUsPerProjectPerRegion"),
        ("n4-standard-8", "custom_model_training_n4_cpus", "CustomModelTrainingN4CPUsPerProjectPerRegion"),
    ],
)
def test_vcpus_on_demand_have_a_quota_for_each_family_and_on_spot_one_for_all(
    machine_type: str, on_demand: str, named: str
) -> None:
    assert (cpu_quota(machine_type, on_demand=True), quota_id(on_demand)) == (on_demand, named)
    assert cpu_quota(machine_type, on_demand=False) == "custom_model_training_preemptible_cpus"


def test_regions_without_a_gpu_are_left_out() -> None:
    assert "us-east4" not in training_regions("NVIDIA_TESLA_T4")
    assert "us-east4" not in training_regions("NVIDIA_TESLA_A100")
    assert "us-east4" in training_regions("NVIDIA_L4")
    assert training_regions("NVIDIA_NEW") == training_regions(None) == []


def test_a_small_a3_does_not_exist_on_demand() -> None:
    small = [f"a3-highgpu-{gpus}g" for gpus in (1, 2, 4)]
    assert [name for name in PRICED if not on_demand_offers(name)] == small
    assert on_demand_offers("z9-new-8")


def test_every_machine_of_the_packages_table_is_known() -> None:
    priced = {resource for resource, _ in packaged().rates if "-" in resource and resource != "pd-ssd"}

    assert priced <= set(PRICED)
    assert len(PRICED) == 52


def test_the_parts_are_those_of_the_machine() -> None:
    for name, parts in PRICED.items():
        assert parts.vcpus == vcpus(name)
        assert wrong_accelerator(name, parts.gpu or "none") is None, name
        if parts.gpu:
            assert wrong_count(name, parts.gpu, parts.gpus) is None, name


def test_memory_and_local_ssd_grow_with_the_machine() -> None:
    found = {name: (parts.ram_gib, parts.local_ssd_gib) for name, parts in PRICED.items()}

    assert found["n1-standard-8"] == (30, 0)
    assert found["n1-highmem-8"] == (52, 0)
    assert found["g2-standard-24"] == (96, 0)
    assert found["a2-megagpu-16g"] == (1360, 0)
    assert found["a2-ultragpu-2g"] == (340, 750)
    assert found["a3-highgpu-8g"] == (1872, 6000)
    assert found["a3-ultragpu-8g"] == (2952, 12_000)
    assert found["g4-standard-384"] == (1440, 0)
