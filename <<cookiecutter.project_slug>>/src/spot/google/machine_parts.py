"""What machine types are made of, as Compute Engine sells it: cores, memory, GPUs, local SSD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spot.google.shapes import vcpus

GPU_NAMES: Mapping[str, str] = {
    "Tesla T4": "NVIDIA_TESLA_T4",
    "Tesla P4": "NVIDIA_TESLA_P4",
    "Tesla P100": "NVIDIA_TESLA_P100",
    "Tesla V100": "NVIDIA_TESLA_V100",
    "L4": "NVIDIA_L4",
    "Tesla A100": "NVIDIA_TESLA_A100",
    "Tesla A100 80GB": "NVIDIA_A100_80GB",
    "H100 80GB": "NVIDIA_H100_80GB",
}
"""Vertex AI's names by those that the price catalogue has, after `Nvidia`."""
ATTACHED = ("NVIDIA_TESLA_T4", "NVIDIA_TESLA_P4", "NVIDIA_TESLA_P100", "NVIDIA_TESLA_V100")
"""Those that have a price of their own, because an n1 is given them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All that one machine is billed for, without its boot disk."""

    series: str
    """As the price catalogue has it, in lower case."""
    vcpus: int
    ram_gib: float
    gpu: str | None
    """By Vertex AI's name."""
    gpus: int
    local_ssd_gib: int
    """What every such machine comes with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    series: str
    sizes: tuple[int, ...]
    """vCPUs; where GPUs are built in and the name ends in `g`, GPUs."""
    ram_gib: float
    """Of each of them."""
    gpu: str | None = None
    local_ssd_gib: int = 0
    """Of each of them."""


_FAMILIES: Mapping[str, _Family] = {
    "n1-standard": _Family(series="n1 predefined", sizes=(4, 8, 16, 32, 64, 96), ram_gib=3.75),
    "n1-highmem": _Family(series="n1 predefined", sizes=(4, 8, 16, 32, 64, 96), ram_gib=6.5),
    "n2-standard": _Family(series="n2", sizes=(4, 8, 16, 32, 48, 64, 80, 96), ram_gib=4),
    "e2-standard": _Family(series="e2", sizes=(4, 8, 16, 32), ram_gib=4),
    "g2-standard": _Family(series="g2", sizes=(4, 8, 12, 16, 24, 32, 48, 96), ram_gib=4, gpu="NVIDIA_L4"),
    "a2-highgpu": _Family(series="a2", sizes=(1, 2, 4, 8), ram_gib=85, gpu="NVIDIA_TESLA_A100"),
    "a2-megagpu": _Family(series="a2", sizes=(16,), ram_gib=85, gpu="NVIDIA_TESLA_A100"),
    "a2-ultragpu": _Family(series="a2", sizes=(1, 2, 4, 8), ram_gib=170, gpu="NVIDIA_A100_80GB", local_ssd_gib=375),
    "a3-highgpu": _Family(series="a3", sizes=(1, 2, 4, 8), ram_gib=234, gpu="NVIDIA_H100_80GB", local_ssd_gib=750),
}
"""From Compute Engine's machine families (https://cloud.google.com/compute/docs/machine-resource)."""
_G2_GPUS = {24: 2, 48: 4, 96: 8}
"""By vCPUs; the others have one."""


def known() -> Mapping[str, Parts]:
    """By machine type."""
    return {
        name: _parts(family, size, cores)
        for stem, family in _FAMILIES.items()
        for size in family.sizes
        for name in [f"{stem}-{size}{'' if family.gpu in {None, 'NVIDIA_L4'} else 'g'}"]
        if (cores := vcpus(name)) is not None
    }


def _parts(family: _Family, size: int, cores: int) -> Parts:
    gpus = _G2_GPUS.get(size, 1) if family.series == "g2" else size
    return Parts(
        series=family.series,
        vcpus=cores,
        ram_gib=family.ram_gib * size,
        gpu=family.gpu,
        gpus=gpus if family.gpu else 0,
        local_ssd_gib=family.local_ssd_gib * size,
    )
