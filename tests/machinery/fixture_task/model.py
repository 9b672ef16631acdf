"""Build a small convolutional network with dropout and batch normalization: all kinds of state."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

SCORE = "accuracy"


def build() -> nn.Module:
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
        nn.Dropout(0.3),
        nn.Linear(16 * 4 * 4, 512),
        nn.ReLU(),
        nn.Linear(512, 10),
    )


def build_optimizer(model: nn.Module, learning_rate: float, total_steps: int) -> tuple[Optimizer, LRScheduler]:
    """Return the optimizer and its schedule."""
    optimizer = AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    # One step more: the trainer advances the schedule after the last step, too.
    return optimizer, OneCycleLR(optimizer, max_lr=learning_rate, total_steps=total_steps + 1)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over the batch."""
    return functional.cross_entropy(outputs, targets)


def score(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over the batch."""
    return (outputs.argmax(dim=1) == targets).sum()
