"""Your model: replace this file (docs/bring-your-model.md replaces it step by step).

The trainer calls `build` and `build_optimizer` once per start, `training_step` for each batch, `evaluation_step` in
evaluations. It saves and restores everything in the `state_dict` of model, optimizer and schedule, and nothing else:
keep a counter or a running mean in a buffer (`register_buffer`), not in a plain attribute.

This example is a small convolutional network for handwritten digits. Try it: `python -m task --run try-1`.
"""

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from task.config import Config

METRICS = {"accuracy": "max"}
"""Each metric with its direction; the first decides which model is better."""


def build(config: Config) -> nn.Module:
    """Return the model with fresh weights, on the CPU. The trainer has seeded the global generators."""
    channels = config.model.channels
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.BatchNorm2d(2 * channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(config.model.dropout),
        nn.Linear(2 * channels * 4 * 4, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def build_optimizer(model: nn.Module, config: Config, total_steps: int) -> tuple[Optimizer, LRScheduler]:
    """Return the optimizer and its schedule. The trainer advances the schedule after each of `total_steps` steps."""
    rate = config.training.learning_rate
    optimizer = AdamW(model.parameters(), lr=rate, weight_decay=config.training.weight_decay)
    # One step more than needed: the trainer advances the schedule after the last step, too.
    return optimizer, OneCycleLR(optimizer, max_lr=rate, total_steps=total_steps + 1)


def training_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean loss of a batch, or several by name, of which the trainer minimises the sum."""
    inputs, targets = batch
    return functional.cross_entropy(model(inputs), targets)


def evaluation_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return for each metric one value per sample, shape (B,). The metric is their mean."""
    inputs, targets = batch
    outputs = model(inputs)
    return {
        "accuracy": (outputs.argmax(dim=1) == targets).double(),
        "loss": functional.cross_entropy(outputs, targets, reduction="none"),
    }
