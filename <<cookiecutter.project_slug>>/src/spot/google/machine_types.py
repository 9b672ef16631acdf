"""Read the table of machine families and GPUs in machines.toml: vCPUs, memory, local SSD, names and regions."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    sizes: list[int]
    gpu: str | None = None
    gpus: list[int] = field(default_factory=list)
    vcpus_per_gpu: int = 0
    series: str = ""
    ram_gib: float = 0
    local_ssd_gib: int = 0
    on_demand: list[int] = field(default_factory=list)

    def parts(self, size: int) -> "MachineParts":
        gpus = size if self.vcpus_per_gpu else self.gpus[self.sizes.index(size)] if self.gpus else 0
        return MachineParts(
            series=self.series,
            vcpus=size * (self.vcpus_per_gpu or 1),
            ram_gib=size * self.ram_gib,
            gpu=self.gpu,
            gpus=gpus if self.gpu else 0,
            local_ssd_gib=size * self.local_ssd_gib,
            on_demand=not self.on_demand or size in self.on_demand,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gpu:
    quota: str
    sku: list[str]
    n1: dict[str, int] = field(default_factory=dict)
    flex_start: bool = False
    blackwell: bool = False
    regions: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineParts:
    """Hold what one machine is billed for, without its boot disk."""

    series: str
    vcpus: int
    ram_gib: float
    gpu: str | None
    gpus: int
    local_ssd_gib: int
    on_demand: bool
    """Whether it exists on demand, and not as spot and FLEX_START only."""


_TABLES: Mapping[str, Any] = tomllib.loads((files("spot.google") / "machines.toml").read_text(encoding="utf-8"))
_FAMILIES: Mapping[str, _Family] = {name: _Family(**values) for name, values in _TABLES["families"].items()}
_GPUS: Mapping[str, _Gpu] = {name: _Gpu(**values) for name, values in _TABLES["gpus"].items()}
_REFUSED: frozenset[str] = frozenset(_TABLES["refused"]["gpus"])
_MACHINES: Mapping[str, MachineParts] = {
    f"{name}-{size}{'g' if family.vcpus_per_gpu else ''}": family.parts(size)
    for name, family in _FAMILIES.items()
    for size in family.sizes
}
PRICED: Mapping[str, MachineParts] = {name: parts for name, parts in _MACHINES.items() if parts.series}
"""The machine types whose price is assembled from their parts."""
ATTACHABLE_GPUS = tuple(name for name, gpu in _GPUS.items() if gpu.n1)
"""GPUs that an n1 machine is given. They have a price of their own."""
CATALOGUE_GPUS: Mapping[str, str] = {sku: name for name, gpu in _GPUS.items() for sku in gpu.sku}
"""Vertex AI's names by those in the price catalogue, in lower case, without `nvidia`."""
SERIES = tuple(sorted({family.series for family in _FAMILIES.values() if family.series}))
_WITHOUT_GPU = ("c2", "c2d", "c3", "c4", "e2", "m1", "m2", "m3", "n2", "n2d", "n4")
_OWN_CPU_QUOTA = ("a2", "a3", "c2", "g2", "m1", "n2", "n4")
_SIZED_BY_VCPUS = re.compile(r"[a-z][a-z0-9]*-(?:standard|high[a-z]+|ultramem|megamem)-([1-9][0-9]*)(?:-lssd)?")


def vcpus(machine_type: str) -> int | None:
    """Return the number of vCPUs, None if it is not known."""
    if parts := _MACHINES.get(machine_type):
        return parts.vcpus
    match = _SIZED_BY_VCPUS.fullmatch(machine_type)
    return int(match[1]) if match else None


def wrong_accelerator(machine_type: str, accelerator: str) -> str | None:
    """Return why this GPU, or `none`, does not go with the machine type. None if it does, or nothing is known."""
    if accelerator in _REFUSED:
        return f"Vertex AI or the PyTorch of this project no longer supports {accelerator}: use NVIDIA_TESLA_T4 on n1"
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
    if machine_type.startswith("n1-") and (gpu := _GPUS.get(accelerator)) and gpu.n1:
        counts = [int(number) for number, most in gpu.n1.items() if (vcpus(machine_type) or 0) <= most]
        numbers = " or ".join(map(str, counts))
        return None if count in counts else f"{machine_type} goes with {numbers} {accelerator}"
    parts = _MACHINES.get(machine_type)
    return None if parts is None or parts.gpus in (0, count) else f"{machine_type} has {parts.gpus}"


def on_demand_offers(machine_type: str) -> bool:
    """Return whether the machine type exists on demand, as far as it is known."""
    return machine_type not in _MACHINES or _MACHINES[machine_type].on_demand


def flex_start_offers(accelerator: str | None) -> bool:
    """Return whether FLEX_START has this GPU."""
    gpu = _GPUS.get(accelerator or "")
    return gpu is not None and gpu.flex_start


def build_for(accelerator: str | None, locks: Path) -> str:
    """Return the build of the image: cu126 runs with older drivers, but has no kernels for Blackwell."""
    if accelerator is None:
        return "cpu"
    gpu = _GPUS.get(accelerator)
    return "cu126" if (locks / "cu126.txt").is_file() and not (gpu and gpu.blackwell) else "cuda"


def training_regions(accelerator: str | None) -> list[str]:
    """Return the regions whose training has this GPU, empty if it is not known."""
    gpu = _GPUS.get(accelerator or "")
    return gpu.regions if gpu else []


def compute_engine_name(accelerator: str) -> str:
    """Return Compute Engine's name of a GPU, such as `nvidia-tesla-t4`."""
    return accelerator.lower().replace("_", "-")


def cpu_quota(machine_type: str, *, on_demand: bool) -> str:
    """Return the quota metric of vCPUs. On demand each family has its own, except N1 and E2, which share one."""
    family = machine_type.split("-", maxsplit=1)[0]
    if not on_demand:
        return "custom_model_training_preemptible_cpus"
    return f"custom_model_training_{f'{family}_' if family in _OWN_CPU_QUOTA else ''}cpus"


def gpu_quota(accelerator: str, *, on_demand: bool) -> str:
    """Return the quota metric of a GPU, such as `custom_model_training_preemptible_nvidia_l4_gpus`."""
    gpu = _GPUS.get(accelerator)
    name = gpu.quota if gpu else accelerator.lower().removeprefix("nvidia_").removeprefix("tesla_")
    return f"custom_model_training_{'' if on_demand else 'preemptible_'}nvidia_{name}_gpus"


def quota_id(metric: str) -> str:
    """Return the id of a metric in Cloud Quotas, such as `CustomModelTrainingPreemptibleL4GPUsPerProjectPerRegion`."""
    special = {"preemptible": "Preemptible", "nvidia": "", "gpus": "GPUs", "cpus": "CPUs"}
    parts = metric.removeprefix("custom_model_training_").split("_")
    return f"CustomModelTraining{''.join(special.get(part, part.upper()) for part in parts)}PerProjectPerRegion"
