"""Define the contract of a task: its model and data modules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spot.storage.records.manifest import DataObject
from spot.trainer.data.order import Sample

Batch = Any
"""Dicts, lists, tuples and named tuples, nested in any way, of tensors and other values."""
Collate = Callable[[list[Any]], Batch]


class Samples(Protocol):
    """Hold a data set. An item is a pure function of its `Sample`: no global randomness.

    A data set that lies in shards has `shard_sizes`, the numbers of items: shard 0 holds the first items, and so on.
    Its samples are then shuffled within `shard_window` shards (4 without this attribute), each read once an epoch.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, sample: Sample, /) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Hold what `load` of `task/data.py` returns."""

    train: Samples
    held_out: Samples
    objects: tuple[DataObject, ...]
    """All objects that were read. A run resumes only on the same objects."""
    test: Samples | None = None
    """A part that neither training nor the choice of the best step sees: the result is judged on it."""
    slices: Sequence[str] = ()
    """A group for each sample of `test`, or of `held_out` without it: a model that is worse on one is not promoted."""
    collate: Collate | None = None
    """Makes a batch of a list of items; by default `torch.utils.data.default_collate`."""


class TaskModel(Protocol):
    """Define the model module. `config` is the value of `Config` of `task/config.py`, None without that module."""

    METRICS: Mapping[str, str]
    """Directions by name: "max", "min", "exp max" or "exp min". The first decides which step is best."""

    def build(self, config: Any) -> nn.Module:
        """Return the model with fresh weights on the CPU."""

    def build_optimizer(self, model: nn.Module, config: Any, total_steps: int) -> tuple[Optimizer, LRScheduler]:
        """Return the optimizer and the schedule that is advanced after each of `total_steps` steps."""

    def training_step(self, model: nn.Module, batch: Batch) -> Tensor | dict[str, Tensor]:
        """Return the mean loss of a batch, or several by name: their sum is minimised. `tokens` is a count."""

    def evaluation_step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor | tuple[Tensor, Tensor]]:
        """Return the value of each sample, or values and weights, by the name of the metric."""


class TaskData(Protocol):
    """Define the data module."""

    def load(self, config: Any, uri: str) -> Data:
        """Return the data sets at `uri`, for "sample" a small sample that tests can train on in seconds.

        Raise `UsageError` if they cannot be read.
        """
