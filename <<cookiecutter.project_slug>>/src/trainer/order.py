"""The order of samples: a function of (seed, epoch) that can be entered anywhere."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One visit of one sample: all that its augmentation may depend on."""

    seed: int
    epoch: int
    index: int

    def generator(self) -> random.Random:
        """Randomness of this visit alone, the same in every worker and after every resume."""
        return random.Random(f"{self.seed}/{self.epoch}/{self.index}")


def permutation(seed: int, epoch: int, size: int) -> list[int]:
    """The order of epoch `epoch` over `size` samples."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    order: list[int] = torch.randperm(size, generator=generator).tolist()
    return order


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Batches of samples, epoch after epoch, from `offset` samples into `epoch`. The last of an epoch may be short."""

    seed: int
    size: int
    batch_size: int
    epoch: int
    offset: int

    def __iter__(self) -> Iterator[list[Sample]]:
        epoch, offset = self.epoch, self.offset
        while True:
            order = permutation(self.seed, epoch, self.size)
            for start in range(offset, self.size, self.batch_size):
                indices = order[start : start + self.batch_size]
                yield [Sample(seed=self.seed, epoch=epoch, index=index) for index in indices]
            epoch, offset = epoch + 1, 0


def extend_digest(digest: str, epoch: int, indices: Sequence[int]) -> str:
    """A running digest of the samples that training consumed, in order."""
    return hashlib.sha256(f"{digest}/{epoch}:{','.join(map(str, indices))}".encode()).hexdigest()
