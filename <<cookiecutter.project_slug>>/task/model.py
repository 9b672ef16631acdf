"""Your model: replace this file (docs/bring-your-model.md replaces it step by step).

The trainer calls `build` and `build_optimizer` once per start, `loss` for each batch, `score` in evaluations. It saves
and restores everything in the `state_dict` of model, optimizer and schedule, and nothing else: keep a counter or a
running mean in a buffer (`register_buffer`), not in a plain attribute.

This example is a small convolutional network for handwritten digits. Try it: `python -m task --run try-1`.
"""

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

SCORE = "accuracy"
"""The name of the score in metrics, logs and TensorBoard. Higher is better."""


def build() -> nn.Module:
    """Return the model with fresh weights, on the CPU. The trainer has seeded the global generators."""
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
    """Return the optimizer and its schedule. The trainer advances the schedule after each of `total_steps` steps."""
    optimizer = AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    # One step more than needed: the trainer advances the schedule after the last step, too.
    return optimizer, OneCycleLR(optimizer, max_lr=learning_rate, total_steps=total_steps + 1)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of a batch."""
    return functional.cross_entropy(outputs, targets)


def score(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of the scores of a batch."""
    return (outputs.argmax(dim=1) == targets).sum()
