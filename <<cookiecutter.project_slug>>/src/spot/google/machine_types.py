"""Hold the table of machine families: vCPUs, memory, GPUs and local SSD of machine types, and the names of GPUs.

From Compute Engine's machine families (https://cloud.google.com/compute/docs/machine-resource).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ATTACHED: Mapping[str, Mapping[int, int]] = {
    "NVIDIA_TESLA_T4": {1: 48, 2: 48, 4: 96},
    "NVIDIA_TESLA_V100": {1: 12, 2: 24, 4: 48, 8: 96},
    "NVIDIA_TESLA_P4": {1: 24, 2: 48, 4: 96},
    "NVIDIA_TESLA_P100": {1: 16, 2: 32, 4: 96},
}
"""By their number, the most vCPUs of an n1 machine that is given these GPUs."""
ATTACHABLE_GPUS = tuple(_ATTACHED)
"""GPUs that an n1 machine is given. They have a price of their own."""
_FLEX_START_GPUS = re.compile(r"NVIDIA_(L4|TESLA_A100|A100_80GB|H100(_MEGA)?_80GB|H200_141GB|B200)")
CATALOGUE_GPUS: Mapping[str, str] = {
    name.removeprefix("NVIDIA_").replace("_", " ").lower(): name
    for name in (*ATTACHABLE_GPUS, "NVIDIA_L4", "NVIDIA_TESLA_A100", "NVIDIA_H100_80GB")
} | {"tesla a100 80gb": "NVIDIA_A100_80GB"}
"""Vertex AI's names by those in the price catalogue, in lower case, without `nvidia`."""
_QUOTA_NAMES = {
    "NVIDIA_H100_80GB": "nvidia_h100",
    "NVIDIA_H100_MEGA_80GB": "nvidia_h100_mega",
    "NVIDIA_H200_141GB": "nvidia_h200",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    sizes: tuple[int, ...]
    """vCPUs, or GPUs where `vcpus_per_gpu` is set: these names end in `g`."""
    gpu: str | None = None
    vcpus_per_gpu: int = 0
    series: str = ""
    """As in the price catalogue, in lower case; empty if no price is assembled."""
    ram_gib: float = 0
    """Per unit of `sizes`, like `local_ssd_gib`."""
    local_ssd_gib: int = 0


_N1 = (4, 8, 16, 32, 64, 96)
_A2, _A3 = (1, 2, 4, 8), (1, 2, 4, 8)
_FAMILIES: Mapping[str, _Family] = {
    "n1-standard": _Family(sizes=_N1, series="n1 predefined", ram_gib=3.75),
    "n1-highmem": _Family(sizes=_N1, series="n1 predefined", ram_gib=6.5),
    "n2-standard": _Family(sizes=(4, 8, 16, 32, 48, 64, 80, 96), series="n2", ram_gib=4),
    "e2-standard": _Family(sizes=(4, 8, 16, 32), series="e2", ram_gib=4),
    "g2-standard": _Family(sizes=(4, 8, 12, 16, 24, 32, 48, 96), gpu="NVIDIA_L4", series="g2", ram_gib=4),
    "a2-highgpu": _Family(sizes=_A2, gpu="NVIDIA_TESLA_A100", vcpus_per_gpu=12, series="a2", ram_gib=85),
    "a2-megagpu": _Family(sizes=(16,), gpu="NVIDIA_TESLA_A100", vcpus_per_gpu=6, series="a2", ram_gib=85),
    "a2-ultragpu": _Family(
        sizes=_A2, gpu="NVIDIA_A100_80GB", vcpus_per_gpu=12, series="a2", ram_gib=170, local_ssd_gib=375
    ),
    "a3-edgegpu": _Family(sizes=(8,), vcpus_per_gpu=26),
    "a3-highgpu": _Family(
        sizes=_A3, gpu="NVIDIA_H100_80GB", vcpus_per_gpu=26, series="a3", ram_gib=234, local_ssd_gib=750
    ),
    "a3-megagpu": _Family(sizes=(8,), gpu="NVIDIA_H100_MEGA_80GB", vcpus_per_gpu=26),
    "a3-ultragpu": _Family(sizes=(8,), gpu="NVIDIA_H200_141GB", vcpus_per_gpu=28),
    "a4-highgpu": _Family(sizes=(8,), gpu="NVIDIA_B200", vcpus_per_gpu=28),
}
_G2_GPUS = {24: 2, 48: 4, 96: 8}
"""By vCPUs; the other sizes have one."""
_WITHOUT_GPU = ("c2", "c2d", "c3", "c4", "e2", "m1", "m2", "m3", "n2", "n2d", "n4")
_SIZED_BY_VCPUS = re.compile(r"[a-z][a-z0-9]*-(?:standard|high[a-z]+|ultramem|megamem)-([1-9][0-9]*)(?:-lssd)?")
_SIZED_BY_GPUS = re.compile(r"([a-z0-9]+-[a-z]+)-([1-9][0-9]?)g")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineParts:
    """Hold what one machine is billed for, without its boot disk."""

    series: str
    vcpus: int
    ram_gib: float
    gpu: str | None
    gpus: int
    local_ssd_gib: int


def _parts(family: _Family, size: int) -> MachineParts:
    gpus = size if family.vcpus_per_gpu else _G2_GPUS.get(size, 1)
    return MachineParts(
        series=family.series,
        vcpus=size * (family.vcpus_per_gpu or 1),
        ram_gib=size * family.ram_gib,
        gpu=family.gpu,
        gpus=gpus if family.gpu else 0,
        local_ssd_gib=size * family.local_ssd_gib,
    )


PRICED: Mapping[str, MachineParts] = {
    f"{name}-{size}{'g' if family.vcpus_per_gpu else ''}": _parts(family, size)
    for name, family in _FAMILIES.items()
    if family.series
    for size in family.sizes
}
"""The machine types whose price is assembled from their parts."""


def vcpus(machine_type: str) -> int | None:
    """Return the number of vCPUs, None if it is not known."""
    if match := _SIZED_BY_VCPUS.fullmatch(machine_type):
        return int(match[1])
    match = _SIZED_BY_GPUS.fullmatch(machine_type)
    family = _FAMILIES.get(match[1]) if match else None
    if match is None or family is None or int(match[2]) not in family.sizes:
        return None
    return int(match[2]) * family.vcpus_per_gpu or None


def wrong_accelerator(machine_type: str, accelerator: str) -> str | None:
    """Return why this GPU, or `none`, does not go with the machine type. None if it does, or nothing is known."""
    family = _FAMILIES.get(machine_type.rpartition("-")[0])
    if family and family.gpu:
        allowed: tuple[str, ...] = (family.gpu,)
    elif machine_type.startswith("n1-"):
        allowed = (*ATTACHABLE_GPUS, "none")
    elif machine_type.split("-", maxsplit=1)[0] in _WITHOUT_GPU:
        allowed = ("none",)
    else:
        return None
    return None if accelerator in allowed else f"{machine_type} goes with {' or '.join(allowed)}"


def wrong_count(machine_type: str, accelerator: str, count: int) -> str | None:
    """Return how many GPUs the machine type has. None if these may be `count`, or nothing is known."""
    if machine_type.startswith("n1-") and (most := _ATTACHED.get(accelerator)):
        counts = [number for number, cpus in most.items() if (vcpus(machine_type) or 0) <= cpus]
        numbers = " or ".join(map(str, counts))
        return None if count in counts else f"{machine_type} goes with {numbers} {accelerator}"
    built_in = None
    if (match := _SIZED_BY_GPUS.fullmatch(machine_type)) and match[1] in _FAMILIES and _FAMILIES[match[1]].gpu:
        built_in = int(match[2])
    elif (parts := PRICED.get(machine_type)) and parts.gpu:
        built_in = parts.gpus
    return None if built_in in (None, count) else f"{machine_type} has {built_in}"


def flex_start_offers(accelerator: str | None) -> bool:
    """Return whether FLEX_START has this GPU."""
    return bool(_FLEX_START_GPUS.fullmatch(accelerator or ""))


def compute_engine_name(accelerator: str) -> str:
    """Return Compute Engine's name of a GPU, such as `nvidia-tesla-t4`."""
    return accelerator.lower().replace("_", "-")


def quota_name(accelerator: str) -> str:
    """Return the name of a GPU in a quota metric, such as `custom_model_training_preemptible_nvidia_l4_gpus`.

    Google's guides and messages show t4, l4, a100_80gb, h100 and h100_mega. The other names are inferred: they drop
    TESLA and the size of the memory.
    """
    return _QUOTA_NAMES.get(accelerator, accelerator.lower().replace("nvidia_tesla_", "nvidia_"))
