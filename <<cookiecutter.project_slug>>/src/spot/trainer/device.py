"""Choose device, precision and data workers."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Self

import torch

from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.flags import Deterministic, Device, Flags, Precision

MOST_WORKERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Hold the choice of this start."""

    device: torch.device
    precision: Precision
    """Never `AUTO`."""
    workers: int

    @classmethod
    def choose(cls, flags: Flags) -> Self:
        """Return what the flags ask for. Raise `UsageError` if this machine does not have it."""
        if flags.device is Device.CUDA and not torch.cuda.is_available():
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
            workers = min(MOST_WORKERS, (os.cpu_count() or 1) - 1) if on_gpu else 0
        return cls(device=torch.device("cuda" if on_gpu else "cpu"), precision=precision, workers=workers)

    def autocast(self) -> AbstractContextManager[object]:
        if self.precision is Precision.FULL:
            return nullcontext()
        dtype = torch.float16 if self.precision is Precision.FP16 else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype)
