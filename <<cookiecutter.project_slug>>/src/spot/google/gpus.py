"""Which GPUs go with which machine type, where that is certain."""

from __future__ import annotations

import re

_BUILT_IN = {
    "a2-highgpu": "NVIDIA_TESLA_A100",
    "a2-megagpu": "NVIDIA_TESLA_A100",
    "a2-ultragpu": "NVIDIA_A100_80GB",
    "a3-highgpu": "NVIDIA_H100_80GB",
    "a3-megagpu": "NVIDIA_H100_MEGA_80GB",
    "a3-ultragpu": "NVIDIA_H200_141GB",
    "a4-highgpu": "NVIDIA_B200",
    "g2-standard": "NVIDIA_L4",
}
_G2_COUNT = {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}
"""By vCPUs."""
_ATTACHED_TO_N1 = ("NVIDIA_TESLA_T4", "NVIDIA_TESLA_V100", "NVIDIA_TESLA_P4", "NVIDIA_TESLA_P100")
_WITHOUT_GPU = ("c2", "c2d", "c3", "c4", "e2", "m1", "m2", "m3", "n2", "n2d", "n4")


def wrong_accelerator(machine_type: str, accelerator: str) -> str | None:
    """What goes with the machine type, None if this does or nothing is certain. `accelerator` may be none."""
    family, _, _ = machine_type.rpartition("-")
    if family in _BUILT_IN:
        allowed: tuple[str, ...] = (_BUILT_IN[family],)
    elif family.startswith("n1-"):
        allowed = (*_ATTACHED_TO_N1, "none")
    elif family.split("-")[0] in _WITHOUT_GPU:
        allowed = ("none",)
    else:
        return None
    return None if accelerator in allowed else f"{machine_type} goes with {' or '.join(allowed)}"


def wrong_count(machine_type: str, count: int) -> str | None:
    """How many GPUs are built into the machine type, None if as many as `count` or nothing is certain."""
    family, _, size = machine_type.rpartition("-")
    built_in = None
    if family == "g2-standard" and size.isdecimal():
        built_in = _G2_COUNT.get(int(size))
    elif family in _BUILT_IN and re.fullmatch(r"[1-9][0-9]?g", size):
        built_in = int(size.removesuffix("g"))
    return None if built_in in (None, count) else f"{machine_type} has {built_in}"
