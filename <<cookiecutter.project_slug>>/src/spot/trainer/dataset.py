"""What `data.py` gives the loop, and how it reads objects so that a run knows its data again."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from spot.core.errors import SpotError
from spot.storage.base import NotFound
from spot.storage.checksum import crc32c
from spot.storage.factory import open_object
from spot.storage.records.manifest import DataObject
from spot.trainer.runtime.errors import UsageError


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
class BatchSampler:
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


class Samples(Protocol):
    """A data set. An item is (input, target) and a pure function of its `Sample`: no global randomness."""

    def __len__(self) -> int: ...

    def __getitem__(self, sample: Sample) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What `data.load` returns."""

    train: Samples
    held_out: Samples
    objects: tuple[DataObject, ...]
    """Everything that was read: a run goes on only on the same."""


def read_pinned(uri: str) -> tuple[bytes, DataObject]:
    """The bytes of a local file or a `gs://` object, and what pins them. Raises `UsageError` naming it.

    `gs://bucket/object#generation` is that generation or nothing: `spot submit` pins what it finds.
    """
    plain, wanted = _generation(uri)
    try:
        store, name = open_object(plain)
        found = store.read(name)
    except NotFound as error:
        raise UsageError(f"--data {uri}: it does not exist") from error
    except (SpotError, ValueError) as error:
        raise UsageError(f"--data {uri}: {error}") from error
    if wanted not in {None, found.generation}:
        raise UsageError(
            f"--data {uri}: it was written again since, and has generation {found.generation}: bring the old"
            " content back, or begin another run"
        )
    # A local file's generation is its time of change, which says nothing about its content.
    generation = found.generation if plain.startswith("gs://") else 0
    return found.data, DataObject(uri=plain, size=len(found.data), crc32c=crc32c(found.data), generation=generation)


def _generation(uri: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(gs://.+)#(\d+)", uri)
    return (match[1], int(match[2])) if match else (uri, None)
