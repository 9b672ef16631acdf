"""Build a small convolutional network with dropout and batch normalization: all kinds of state."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from tests.machinery.fixture_task.config import Config

METRICS = {"accuracy": "max"}


class Blocks(nn.Module):
    """Classify by blocks of linear layers. Their sizes cannot be divided by 2, 3 or 4 ranks."""

    def __init__(self, count: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(64, 61)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(61), nn.Linear(61, 61), nn.GELU(), nn.Dropout(dropout)) for _ in range(count)
        )
        self.head = nn.Linear(61, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.first(inputs.flatten(1))
        for block in self.blocks:
            found = found + block(found)
        return cast(Tensor, self.head(found))


def build(config: Config) -> nn.Module:
    """Return the model with fresh weights."""
    if config.model.blocks:
        return Blocks(config.model.blocks, config.model.dropout)
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
