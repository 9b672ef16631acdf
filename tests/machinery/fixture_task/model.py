"""The model: one of the two files to replace (the other is `data.py`; docs/replace-model-and-data.md replaces both).

The contract is these four functions. Whatever tensors the model, the optimizer and the scheduler keep is saved.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

SCORE = "accuracy"
"""What `score` measures on the held-out data, higher is better."""


def build() -> nn.Module:
    """The model with fresh weights, on the CPU; the global generator is seeded."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64 * 4 * 4, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def build_optimizer(model: nn.Module, learning_rate: float, total_steps: int) -> tuple[Optimizer, LRScheduler]:
    """The optimizer and its schedule, which is advanced after each of `total_steps` steps."""
    optimizer = AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    # The schedule must outlive the last step: PyTorch refuses one step more than announced.
    return optimizer, OneCycleLR(optimizer, max_lr=learning_rate, total_steps=total_steps + 1)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean over the batch."""
    return functional.cross_entropy(outputs, targets)


def score(outputs: Tensor, targets: Tensor) -> Tensor:
    """The sum over the batch of each sample's score."""
    return (outputs.argmax(dim=1) == targets).sum()
