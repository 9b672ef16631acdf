"""Order the samples of an epoch: a pure function of seed and epoch, also where the data set lies in shards."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor

WINDOW = 4
"""Shards whose samples are shuffled together: a data set may set its own as `shard_window`."""

Part = Literal["train", "held_out", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Identify one visit of one item: an item may depend on these three values only."""

    seed: int
    epoch: int
    index: int

    def generator(self) -> random.Random:
        """Return a generator for augmentation: the same in every worker and after every resume."""
        return random.Random(f"{self.seed}/{self.epoch}/{self.index}")


def order(seed: int, epoch: int, size: int, shard_sizes: Sequence[int] | None = None, window: int = WINDOW) -> Tensor:
    """Return the indices of all `size` samples in the order of this epoch.

    With `shard_sizes` the shards are shuffled, then the samples of each `window` shards: a shard is read once.
    """
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    if shard_sizes is None:
        return torch.randperm(size, generator=generator)
    ends = list(accumulate(shard_sizes))
    shards = torch.randperm(len(ends), generator=generator).tolist()
    windows = []
    for first in range(0, len(shards), window):
        together = torch.cat(
            [torch.arange(ends[shard] - shard_sizes[shard], ends[shard]) for shard in shards[first : first + window]]
        )
        windows.append(together[torch.randperm(len(together), generator=generator)])
    return torch.cat(windows)


def extend_digest(digest: str, epoch: int, indices: Sequence[int]) -> str:
    """Return the digest of all samples read so far, in order."""
    return hashlib.sha256(f"{digest}/{epoch}:{','.join(map(str, indices))}".encode()).hexdigest()


def part_of(key: str | bytes, *, held_out: float = 0.2, test: float = 0.0) -> Part:
    """Return the part that the item with this key belongs to: the same in every export of the data.

    The key is the item's identifier or its content. A position is no key: an item added in front would move all.
    """
    digest = hashlib.sha256(key if isinstance(key, bytes) else key.encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < held_out:
        return "held_out"
    return "test" if share < held_out + test else "train"
