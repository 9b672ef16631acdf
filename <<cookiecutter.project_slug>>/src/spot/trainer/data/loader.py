"""Load batches onto the device, in an order that every resume continues exactly."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, Dataset, default_collate

from spot.core.errors import SpotError
from spot.trainer.data.contract import Batch, Collate, Samples
from spot.trainer.data.order import WINDOW, Sample, extend_digest, order
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.signals import leave_signals_to_the_parent, signals_held

SHARED_MEMORY = "/dev/shm"
UNEQUAL = ("stack expects each tensor to be equal size", "resize storage that is not resizable")
"""What PyTorch says of items of different sizes, in this process and in a data worker."""
Planned = tuple[list[int], list[Sample]]
"""The indices of a batch on all ranks, and the samples of this rank."""
PREFETCHED = 2
"""Batches that each data worker prepares ahead."""


class Loader:
    """Iterate over batches on `device`: for training without end, otherwise over all samples once, in their order.

    A step takes up to `batch_size` samples of one epoch, in batches of up to `micro`. The position counts the batches
    that were yielded, not those prepared ahead. Each iterator yields what follows it, also after `load_state_dict`.

    All sizes and the position count the samples of all `ranks`. Each rank reads an equal part of a batch; the first
    samples are repeated where a batch cannot be divided.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        workers: int = 0,
        micro: int | None = None,
        collate: Collate | None = None,
        train: bool = True,
        rank: int = 0,
        ranks: int = 1,
        interruptible: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        """Wait for data in `interruptible()`, which may raise: the position is then still that of the last batch."""
        self.size = len(samples)
        self.batch_size, self.seed, self.workers, self.train = batch_size, seed, workers, train
        self.epoch = self.offset = 0
        """Where the next batch starts: an epoch, and a number of samples of it."""
        self.order_digest = ""
        self.count = 0
        """Samples of the newest batch."""
        self.fresh = False
        """Whether the newest batch is of a held-out pass, and not yet evaluated."""
        self.step_count = 0
        """Samples of the step that the newest batch belongs to."""
        self.step_ended = True
        """Whether the newest batch is the last of its step."""
        self._samples, self._collate = samples, collate or default_collate
        self.device, self._interruptible = device, interruptible
        self._micro, self._rank, self._ranks = micro or batch_size, rank, ranks
        self._shard_sizes: list[int] | None = getattr(samples, "shard_sizes", None)
        self._window: int = getattr(samples, "shard_window", WINDOW)
        self._reader: object = None
        if train and self._micro % ranks:
            raise UsageError(
                f"{ranks} ranks cannot divide the {self._micro} samples of a forward pass: use a --batch-size that is a"
                f" multiple of {ranks} x --accumulate"
            )
        if not self.size:
            raise UsageError(f"--data: the {'training' if train else 'held-out'} data holds no samples")
        if self._shard_sizes is not None and sum(self._shard_sizes) != self.size:
            raise UsageError(
                f"--data: shard_sizes adds up to {sum(self._shard_sizes)}, and there are {self.size} items"
            )

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self._endless() if self.train else self._once()

    def state_dict(self) -> dict[str, Any]:
        """Return the position, and what it is valid for."""
        return {"epoch": self.epoch, "offset": self.offset, "order_digest": self.order_digest, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, in running iterators, too. Raise `UsageError` if it is of another order."""
        for name, own in self._identity().items():
            if state[name] != own:
                raise UsageError(
                    f"the checkpoint's loader has {name} {state[name]} and this one {own}: use the same data and"
                    " settings, or another --run"
                )
        epoch, offset, digest = state["epoch"], state["offset"], state["order_digest"]
        if not (epoch >= 0 <= offset < self.size and isinstance(digest, str)):
            raise ValueError(f"no position among {self.size} samples: epoch {epoch}, offset {offset}")
        self.epoch, self.offset, self.order_digest = epoch, offset, digest
        self._reader = None

    def shared_memory(self) -> int:
        """Return the bytes of shared memory for the batches that data workers prepare, judged by the first sample."""
        first = [([0], [Sample(seed=self.seed, epoch=0, index=0)])]
        # A worker reads it: a data set may open its files on the first read, and must not do so before the fork.
        _, batch = next(self._read(first, workers=1))
        size = sum(getattr(leaf, "nbytes", 0) for leaf in tree_leaves(batch))
        ahead = self.workers * PREFETCHED * -(-self._micro // self._ranks)
        return size * (ahead if self.train else min(ahead, self.size))

    def _identity(self) -> dict[str, Any]:
        shards = None if self._shard_sizes is None else extend_digest("", self._window, self._shard_sizes)[:16]
        return {"size": self.size, "batch_size": self.batch_size, "seed": self.seed, "shards": shards}

    def _endless(self) -> Iterator[Batch]:
        while True:
            self._reader = reader = object()
            batches = self._read(self._planned(), self.workers)
            while self._reader is reader:
                with self._interruptible():
                    indices, batch = next(batches)
                # Here and until the yield nothing is interrupted: the position and the batch change together.
                self._advance(indices)
                yield batch

    def _once(self) -> Iterator[Batch]:
        starts = range(0, self.size, self._micro)
        planned = (self._part(0, list(range(start, min(start + self._micro, self.size)))) for start in starts)
        for indices, batch in self._read(planned, self.workers):
            self.count, self.fresh = len(indices), True
            yield batch

    def _planned(self) -> Iterator[Planned]:
        """Yield each batch from the position on. It runs ahead of the position."""
        epoch, offset = self.epoch, self.offset
        while True:
            indices = order(self.seed, epoch, self.size, self._shard_sizes, self._window)
            while offset < self.size:
                end = min(offset + self._micro, self._step_end(offset))
                yield self._part(epoch, indices[offset:end].tolist())
                offset = end
            epoch, offset = epoch + 1, 0

    def _part(self, epoch: int, indices: list[int]) -> Planned:
        """Return the samples of a batch, and the part of this rank."""
        size = -(-len(indices) // self._ranks)
        own = (indices[number % len(indices)] for number in range(self._rank * size, (self._rank + 1) * size))
        return indices, [Sample(seed=self.seed, epoch=epoch, index=index) for index in own]

    def _step_end(self, offset: int) -> int:
        return min((offset // self.batch_size + 1) * self.batch_size, self.size)

    def _advance(self, indices: list[int]) -> None:
        self.order_digest = extend_digest(self.order_digest, self.epoch, indices)
        self.count = len(indices)
        step_end = self._step_end(self.offset)
        self.step_count = step_end - self.offset // self.batch_size * self.batch_size
        self.offset += len(indices)
        self.step_ended = self.offset == step_end
        if self.offset == self.size:
            self.epoch, self.offset = self.epoch + 1, 0

    def _read(self, planned: Iterable[Planned], workers: int) -> Iterator[tuple[list[int], Batch]]:
        loader: DataLoader[tuple[list[int], Batch]] = DataLoader(
            _Batches(self._samples, self._collate),
            batch_size=None,  # an index of `_Batches` is a planned batch
            sampler=planned,
            collate_fn=_unchanged,
            num_workers=workers,
            prefetch_factor=PREFETCHED if workers else None,
            worker_init_fn=leave_signals_to_the_parent,
            pin_memory=self.device.type == "cuda",
            # Otherwise each iterator draws its seed from the global generator, and a resume draws once more.
            generator=torch.Generator().manual_seed(0),
        )
        with signals_held():
            loaded = iter(loader)
        try:
            for found in loaded:
                if isinstance(found, SpotError):
                    raise found
                indices, batch = found
                yield indices, batch if self.device.type == "cpu" else tree_map(self._moved, batch, is_leaf=_movable)
        finally:
            # Ends the workers now. The garbage collector closes their queues first: they would wait for ever.
            del loaded

    def _moved(self, leaf: Any) -> Any:
        return leaf.to(self.device, non_blocking=True) if _movable(leaf) else leaf


def check_shared_memory(*loaders: Loader, processes: int = 1) -> None:
    """Raise `UsageError` if the batches that data workers of `processes` prepare do not fit into shared memory."""
    loaders = tuple(loader for loader in loaders if loader.workers)
    if not loaders or not Path(SHARED_MEMORY).exists():
        return
    disk, most = os.statvfs(SHARED_MEMORY), loaders[0]
    free = disk.f_bavail * disk.f_frsize
    try:
        size = processes * sum(loader.shared_memory() for loader in loaders)
    except RuntimeError as error:
        if "shared memory" not in str(error):
            raise
        needed = "more shared memory for a single sample"
    else:
        if size <= free:
            return
        needed = f"{size / 1e6:.0f} MB of shared memory for batches of {most.batch_size} samples"
    raise UsageError(
        f"--workers {most.workers} needs {needed}, and {SHARED_MEMORY} has {free / 1e6:.0f} MB: use fewer workers,"
        " or --workers 0"
    )


class _Batches(Dataset[Any]):
    """Read a batch in a data worker, and return the indices with it: the digest covers what was really read."""

    def __init__(self, samples: Samples, collate: Collate) -> None:
        self._samples, self._collate = samples, collate

    def __getitem__(self, planned: Planned) -> tuple[list[int], Batch] | SpotError:
        indices, visits = planned
        try:
            return indices, self._collate([self._samples[visit] for visit in visits])
        except SpotError as error:  # raised in a worker it would become the text of a traceback
            return error
        except RuntimeError as error:
            if not any(text in str(error) for text in UNEQUAL):
                raise
            return UsageError(f"the items of a batch differ in size ({error}): pad them in a collate of Data")


def _unchanged(batch: Any) -> Any:
    return batch


def _movable(leaf: Any) -> bool:
    """Return whether `leaf` moves itself, as tensors do, packed sequences, and batches of some libraries."""
    return hasattr(leaf, "to")
