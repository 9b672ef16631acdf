"""What the name of a machine type or a GPU says."""

from __future__ import annotations

import pytest

from spot.google.shapes import compute_engine_name, quota_name, vcpus


@pytest.mark.parametrize(
    ("machine_type", "expected"),
    [
        ("g2-standard-8", 8),
        ("g2-standard-96", 96),
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
        ("NVIDIA_L4", "nvidia_l4", "nvidia-l4"),
        ("NVIDIA_TESLA_T4", "nvidia_t4", "nvidia-tesla-t4"),
        ("NVIDIA_TESLA_A100", "nvidia_a100", "nvidia-tesla-a100"),
        ("NVIDIA_A100_80GB", "nvidia_a100_80gb", "nvidia-a100-80gb"),
        ("NVIDIA_H100_80GB", "nvidia_h100", "nvidia-h100-80gb"),
        ("NVIDIA_H100_MEGA_80GB", "nvidia_h100_mega", "nvidia-h100-mega-80gb"),
        ("NVIDIA_H200_141GB", "nvidia_h200", "nvidia-h200-141gb"),
        ("NVIDIA_B200", "nvidia_b200", "nvidia-b200"),
    ],
)
def test_a_gpu_has_another_name_in_quotas_and_in_compute_engine(
    accelerator: str, in_quotas: str, in_compute_engine: str
) -> None:
    assert (quota_name(accelerator), compute_engine_name(accelerator)) == (in_quotas, in_compute_engine)
