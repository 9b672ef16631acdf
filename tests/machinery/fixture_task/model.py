"""Build a small convolutional network with dropout and batch normalization: all kinds of state."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from tests.machinery.fixture_task.config import Config

METRICS = {"accuracy": "max"}


def build(config: Config) -> nn.Module:
    """Return the model with fresh weights."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(config.model.dropout),
        nn.Linear(16 * 4 * 4, 512),
        nn.ReLU(),
        nn.Linear(512, 10),
    )


def build_optimizer(model: nn.Module, config: Config, total_steps: int) -> tuple[Optimizer, LRScheduler]:
    """Return the optimizer and its schedule."""
    rate = config.training.learning_rate
    optimizer = AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    # One step more: the trainer advances the schedule after the last step, too.
    return optimizer, OneCycleLR(optimizer, max_lr=rate, total_steps=total_steps + 1)


def training_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean loss of the batch."""
    inputs, targets = batch
    return functional.cross_entropy(model(inputs), targets)


def evaluation_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return accuracy and loss of each sample."""
    inputs, targets = batch
    outputs = model(inputs)
    return {
        "accuracy": (outputs.argmax(dim=1) == targets).double(),
        "loss": functional.cross_entropy(outputs, targets, reduction="none"),
    }
