"""Stand in for CUDA on the CPU: copies wait in a queue, as on a stream, and every misuse of the interface raises."""

from __future__ import annotations

import mmap
from pathlib import Path

import torch
from torch import Tensor

POISON = 0xAB
ALREADY_REGISTERED, NOT_REGISTERED, INVALID = 712, 713, 1


class QueuedGpu:
    """Own all floating-point tensors. Registers memory until `limit` bytes, then refuses.

    A copy happens as late as a GPU may do it: in `wait`, from what the source holds then. Until then the target is
    poisoned, so that a reader that does not wait finds garbage.
    """

    def __init__(self, limit: int = 1 << 40) -> None:
        self.limit = limit
        self.registered: dict[int, int] = {}
        """Size by address."""
        self.calls: list[str] = []
        self.copied = 0
        self._queue: list[tuple[Tensor, Tensor]] = []

    def owns(self, tensor: Tensor) -> bool:
        return tensor.is_floating_point()

    def copy(self, target: Tensor, source: Tensor) -> None:
        self.calls.append("copy")
        assert target.dtype == source.dtype
        assert target.shape == source.shape
        self._check_range(target.data_ptr(), target.numel() * target.element_size())
        if target.numel():
            target.reshape(-1).view(torch.uint8).fill_(POISON)
        self._queue.append((target, source))

    def wait(self) -> None:
        self.calls.append("wait")
        for target, source in self._queue:
            target.copy_(source)
        self.copied += len(self._queue)
        self._queue.clear()

    def pin(self, address: int, size: int) -> None:
        self.calls.append("pin")
        self._require(size > 0 and address % mmap.PAGESIZE == 0 and mapped(address, size), INVALID)
        taken = any(address < start + length and start < address + size for start, length in self.registered.items())
        self._require(not taken, ALREADY_REGISTERED)
        if sum(self.registered.values()) + size > self.limit:
            raise OSError("CUDA error 2")
        self.registered[address] = size

    def unpin(self, address: int) -> None:
        self.calls.append("unpin")
        self._require(address in self.registered, NOT_REGISTERED)
        self._require(not self._queue and mapped(address, self.registered.pop(address)), INVALID)

    def _check_range(self, address: int, size: int) -> None:
        """A copy lies in one registered range, or outside of all: CUDA refuses all else."""
        within = any(start <= address and address + size <= start + length for start, length in self.registered.items())
        outside = all(address + size <= start or start + length <= address for start, length in self.registered.items())
        self._require(within or outside, INVALID)

    def _require(self, holds: bool, code: int) -> None:
        if not holds:
            raise AssertionError(f"CUDA error {code}")


def mapped(address: int, size: int) -> bool:
    """Return whether this process has all of this memory."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= address < end:
            return address + size <= end
    return False
