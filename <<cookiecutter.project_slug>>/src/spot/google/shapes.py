"""What the names of machine types and GPUs say: vCPUs, and what Compute Engine and the quotas call a GPU."""

from __future__ import annotations

import re

_BY_NUMBER = re.compile(r"[a-z][a-z0-9]*-(?:standard|high[a-z]+|ultramem|megamem)-([1-9][0-9]*)(?:-lssd)?")
_WITH_GPUS = {
    "a2-highgpu": {1: 12, 2: 24, 4: 48, 8: 96},
    "a2-megagpu": {16: 96},
    "a2-ultragpu": {1: 12, 2: 24, 4: 48, 8: 96},
    "a3-edgegpu": {8: 208},
    "a3-highgpu": {1: 26, 2: 52, 4: 104, 8: 208},
    "a3-megagpu": {8: 208},
    "a3-ultragpu": {8: 224},
    "a4-highgpu": {8: 224},
}
"""vCPUs by GPUs."""
_QUOTA_NAMES = {
    "NVIDIA_H100_80GB": "nvidia_h100",
    "NVIDIA_H100_MEGA_80GB": "nvidia_h100_mega",
    "NVIDIA_H200_141GB": "nvidia_h200",
}


def vcpus(machine_type: str) -> int | None:
    """None if the name does not say."""
    if match := _BY_NUMBER.fullmatch(machine_type):
        return int(match[1])
    family, _, size = machine_type.rpartition("-")
    gpus = re.fullmatch(r"([1-9][0-9]?)g", size)
    return _WITH_GPUS.get(family, {}).get(int(gpus[1])) if gpus else None


def compute_engine_name(accelerator: str) -> str:
    """As in `nvidia-l4`, `nvidia-tesla-t4`."""
    return accelerator.lower().replace("_", "-")


def quota_name(accelerator: str) -> str:
    """The GPU within a quota metric's name, as in `custom_model_training_preemptible_nvidia_l4_gpus`.

    Vertex AI's own messages and Google's own guides show k80, t4, l4, a100_80gb, h100 and h100_mega. The rest is
    inferred from these: TESLA is dropped, and the size of the memory is, except for A100_80GB.
    """
    return _QUOTA_NAMES.get(accelerator, accelerator.lower().replace("nvidia_tesla_", "nvidia_"))
