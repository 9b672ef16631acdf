"""A GPU that cannot go with its machine type is refused; where nothing is certain, nothing is."""

from __future__ import annotations

import pytest

from spot.google.gpus import wrong_accelerator, wrong_count


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
        ("n1-highmem-16", "NVIDIA_TESLA_V100"),
        ("n1-standard-8", "NVIDIA_TESLA_P4"),
        ("n1-standard-8", "NVIDIA_TESLA_P100"),
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
        ("n1-standard-8", "NVIDIA_L4", "NVIDIA_TESLA_T4 or NVIDIA_TESLA_V100"),
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
    assert wrong_count(machine_type, count) is None


@pytest.mark.parametrize(
    ("machine_type", "count", "has"), [("a2-highgpu-1g", 2, 1), ("a3-highgpu-8g", 1, 8), ("g2-standard-24", 1, 2)]
)
def test_another_count_than_the_built_in_one_is_refused(machine_type: str, count: int, has: int) -> None:
    assert wrong_count(machine_type, count) == f"{machine_type} has {has}"
