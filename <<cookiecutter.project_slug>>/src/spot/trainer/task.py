"""Define the contract of a project's task: what the trainer calls in its model and data modules."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spot.trainer.dataset import Data


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
