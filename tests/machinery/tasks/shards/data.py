"""Read rows of float32 values from shards of different sizes."""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from spot.storage.base import ABSENT
from spot.storage.factory import open_store
from spot.trainer import Data, ObjectCache, Sample
from tests.machinery.tasks.shards.config import Config

SHARDS = 40
HELD_OUT = 4
COLUMNS = 4
ROW_BYTES = 4 * (COLUMNS + 1)
LIMIT_BYTES = 12 * 7 * ROW_BYTES
"""Room for the four newest shards of each of three processes. Two that fetch at once exceed it by a shard."""


def write(uri: str) -> None:
    """Write the shards, of 3 to 7 rows each."""
    store, generator = open_store(uri), torch.Generator().manual_seed(5)
    for shard in range(SHARDS):
        inputs = torch.randn((3 + shard % 5, COLUMNS), generator=generator)
        rows = torch.cat([inputs, inputs.sum(dim=1, keepdim=True)], dim=1)
        store.write(f"{shard:02d}.bin", rows.numpy().tobytes(), if_generation=ABSENT)


def load(config: Config, uri: str) -> Data:
    """Return all shards but the last few for training."""
    cache = ObjectCache(uri, config.training.cache, limit_bytes=LIMIT_BYTES)
    return Data(
        train=Shards(cache, range(SHARDS - HELD_OUT)),
        held_out=Shards(cache, range(SHARDS - HELD_OUT, SHARDS)),
        objects=(cache.pinned,),
    )


class Shards:
    """Hold the rows of some shards."""

    def __init__(self, cache: ObjectCache, shards: range) -> None:
        self._cache, self._shards = cache, shards
        self.shard_sizes = [cache.sizes[shard] // ROW_BYTES for shard in shards]
        self._ends = list(accumulate(self.shard_sizes))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, sample: Sample) -> tuple[Tensor, Tensor]:
        shard = bisect(self._ends, sample.index)
        row = sample.index - (self._ends[shard] - self.shard_sizes[shard])
        with Path(self._cache.path(self._shards[shard])).open("rb") as file:
            file.seek(row * ROW_BYTES)
            values = torch.frombuffer(bytearray(file.read(ROW_BYTES)), dtype=torch.float32)
        return values[:-1], values[-1]
