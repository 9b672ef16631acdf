"""Build a linear model."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler

from tests.machinery.tasks.shards.config import Config
from tests.machinery.tasks.shards.data import COLUMNS

METRICS = {"error": "min"}


def build(config: Config) -> nn.Module:  # noqa: ARG001
    """Return the model with fresh weights."""
    return nn.Sequential(nn.Linear(COLUMNS, 1), nn.Flatten(0))


def build_optimizer(model: nn.Module, config: Config, total_steps: int) -> tuple[Optimizer, LRScheduler]:  # noqa: ARG001
    """Return the optimizer and a constant rate."""
    optimizer = Adam(model.parameters(), lr=config.training.learning_rate)
    return optimizer, ConstantLR(optimizer, 1.0)


def training_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean squared error."""
    inputs, targets = batch
    loss: Tensor = (model(inputs) - targets).square().mean()
    return loss


def evaluation_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return the squared error of each row."""
    inputs, targets = batch
    return {"error": (model(inputs) - targets).square()}
