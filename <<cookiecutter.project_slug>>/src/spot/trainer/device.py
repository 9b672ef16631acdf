"""Choose device, precision and data workers, and make every call of CUDA."""

import os
import re
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from spot.trainer.runtime.errors import StartAgain, UsageError
from spot.trainer.runtime.flags import Deterministic, Device, Flags, Precision
from spot.trainer.uploader.buffer import PageLock

MOST_WORKERS = 8
DRIVER = Path("/proc/driver/nvidia/version")
PORTABLE = 1
"""cudaHostRegisterPortable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Hold the choice of this start."""

    device: torch.device
    precision: Precision
    """Never `AUTO`."""
    workers: int

    @classmethod
    def choose(cls, flags: Flags, local_world: int = 1) -> Self:
        """Return what the flags ask for on one of `local_world` ranks.

        Raise `UsageError` if the machine lacks it, `StartAgain` if its driver is too old.
        """
        if flags.device is Device.CUDA and not torch.cuda.is_available():
            if driver := driver_version():  # another machine may have a newer one
                cuda = torch.version.cuda or "none"
                needed = {"12": "R525 or newer", "13": "R580 or newer"}.get(cuda[:2], "a build with CUDA")
                raise StartAgain(
                    f"PyTorch {torch.__version__} cannot use the GPU with the NVIDIA driver {driver}: its CUDA {cuda}"
                    f" needs {needed}; docs/image.md has the builds"
                )
            raise UsageError("--device cuda: PyTorch finds no GPU on this machine; use --device auto or cpu")
        on_gpu = flags.device is not Device.CPU and torch.cuda.is_available()
        if flags.deterministic is Deterministic.AUTO:
            torch.use_deterministic_algorithms(True, warn_only=True)
            # Filling new memory finds bugs, and costs 1 % of a step.
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        precision, workers = flags.precision, flags.workers
        if precision is Precision.AUTO:
            # `including_emulation`: a T4 computes bf16 in software, ten times slower than fp16.
            bf16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
            precision = Precision.BF16 if bf16 else Precision.FP16 if on_gpu else Precision.FULL
        if workers is None:
            workers = min(MOST_WORKERS, (os.cpu_count() or 1) // local_world - 1) if on_gpu else 0
        return cls(device=torch.device("cuda" if on_gpu else "cpu"), precision=precision, workers=workers)

    def autocast(self) -> AbstractContextManager[object]:
        if self.precision is Precision.FULL:
            return nullcontext()
        dtype = torch.float16 if self.precision is Precision.FP16 else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype)


def driver_version() -> str | None:
    """Return the version of the machine's NVIDIA driver, None without one."""
    try:
        found = re.search(r"\b\d{3,}\.\d+(?:\.\d+)*\b", DRIVER.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return found[0] if found else "of an unknown version"


class Gpu(PageLock, Protocol):
    """Define what a checkpoint needs of a GPU. Tests replace it to check the order of the calls."""

    def owns(self, tensor: Tensor) -> bool: ...

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Start to copy into main memory, after all work that was queued before."""

    def wait(self) -> None:
        """Wait for the copies. The sources may change afterwards."""


class Cuda:
    """Call CUDA. Without a tensor on a GPU, nothing is called."""

    def __init__(self) -> None:
        self._streams: set[torch.cuda.Stream] = set()

    def owns(self, tensor: Tensor) -> bool:
        return tensor.is_cuda

    def copy(self, target: Tensor, source: Tensor) -> None:
        target.copy_(source, non_blocking=True)
        self._streams.add(torch.cuda.current_stream(source.device))

    def wait(self) -> None:
        while self._streams:
            self._streams.pop().synchronize()

    def pin(self, address: int, size: int) -> None:
        _call("cudaHostRegister", address, size, PORTABLE)

    def unpin(self, address: int) -> None:
        _call("cudaHostUnregister", address)


def use_gpu(device: Device, local_rank: int) -> bool:
    """Give this rank a GPU of its own, and return whether it has one. Raise `UsageError` for a rank too many."""
    if device is Device.CPU or not torch.cuda.is_available():
        return False
    if local_rank >= (gpus := torch.cuda.device_count()):
        raise UsageError(f"--ranks: rank {local_rank} of this machine has no GPU of its {gpus}: use --ranks {gpus}")
    torch.cuda.set_device(local_rank)
    return True


def cuda_generators() -> list[Tensor]:
    """Return the states of the generators of all GPUs."""
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def set_cuda_generators(states: list[Tensor]) -> None:
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states[: torch.cuda.device_count()])


def _call(function: str, *arguments: int) -> None:
    if code := int(getattr(torch.cuda.cudart(), function)(*arguments)):  # type: ignore[no-untyped-call]
        with suppress(RuntimeError):  # the error stays pending until a kernel raises it: that must not be the user's
            torch.ones(1, device="cuda")
        raise OSError(f"{function}: CUDA error {code}")
