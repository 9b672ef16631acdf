"""Define the contract of a task (its model and data modules), read pinned objects, and order the samples."""

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spot.core.errors import SpotError
from spot.storage.base import NotFound
from spot.storage.checksum import crc32c
from spot.storage.factory import open_object
from spot.storage.records.manifest import DataObject
from spot.trainer.runtime.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Identify one visit of one item: an item may depend on these three values only."""

    seed: int
    epoch: int
    index: int

    def generator(self) -> random.Random:
        """Return a generator for augmentation: the same in every worker and after every resume."""
        return random.Random(f"{self.seed}/{self.epoch}/{self.index}")


def permutation(seed: int, epoch: int, size: int) -> list[int]:
    """Return the order of `size` samples in this epoch."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    order: list[int] = torch.randperm(size, generator=generator).tolist()
    return order


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSampler:
    """Yield batches of samples without end, from `offset` samples into `epoch`. An epoch's last batch may be short."""

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
    """Return the digest of all samples consumed so far, in order."""
    return hashlib.sha256(f"{digest}/{epoch}:{','.join(map(str, indices))}".encode()).hexdigest()


class Samples(Protocol):
    """Hold a data set. An item is (input, target) and a pure function of its `Sample`: no global randomness."""

    def __len__(self) -> int: ...

    def __getitem__(self, sample: Sample) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Hold what `load` of `task/data.py` returns."""

    train: Samples
    held_out: Samples
    objects: tuple[DataObject, ...]
    """All objects that were read. A run resumes only on the same objects."""


class TaskModel(Protocol):
    """Define the model module."""

    SCORE: str
    """The name of the score. Higher is better."""

    def build(self) -> nn.Module:
        """Return the model with fresh weights on the CPU."""

    def build_optimizer(
        self, model: nn.Module, learning_rate: float, total_steps: int
    ) -> tuple[Optimizer, LRScheduler]:
        """Return the optimizer and the schedule that is advanced after each of `total_steps` steps."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch."""

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the scores of a batch."""


class TaskData(Protocol):
    """Define the data module."""

    def load(self, uri: str) -> Data:
        """Return the data sets at `uri`, for "sample" a small sample that tests can train on in seconds.

        Raise `UsageError` if they cannot be read.
        """


def read_pinned(uri: str) -> tuple[bytes, DataObject]:
    """Return the bytes of a local file or a `gs://` object, and its entry for `Data.objects`. Raise `UsageError`.

    `gs://bucket/object#generation` reads that generation only; `spot submit` pins the generation it finds.
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
            f"--data {uri}: it was overwritten and has generation {found.generation} now: restore the old"
            " content, or submit another run"
        )
    # A local file's generation is its modification time, which does not identify its content.
    generation = found.generation if plain.startswith("gs://") else 0
    return found.data, DataObject(uri=plain, size=len(found.data), crc32c=crc32c(found.data), generation=generation)


def _generation(uri: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(gs://.+)#(\d+)", uri)
    return (match[1], int(match[2])) if match else (uri, None)
