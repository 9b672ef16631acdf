"""Build a small network, trained with momentum and a schedule with restarts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LRScheduler

from tests.machinery.tasks.regression.config import Config
from tests.machinery.tasks.regression.data import COLUMNS, Row

METRICS = {"error": "min", "within_half": "max"}


PENALTY = 0.001


class Network(nn.Module):
    """Predict the target."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(COLUMNS, 32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return one number per row."""
        found: Tensor = self.layers(inputs).squeeze(1)
        return found


def build(config: Config) -> nn.Module:  # noqa: ARG001
    """Return the network with fresh weights."""
    return Network()


def build_optimizer(model: nn.Module, config: Config, total_steps: int) -> tuple[Optimizer, LRScheduler]:
    """Return the optimizer and its schedule."""
    optimizer = SGD(model.parameters(), lr=config.training.learning_rate, momentum=0.9)
    return optimizer, CosineAnnealingWarmRestarts(optimizer, max(1, total_steps // 3))


def training_step(model: nn.Module, batch: Row) -> dict[str, Tensor]:
    """Return two losses, whose sum is minimised."""
    errors = functional.mse_loss(model(batch.inputs), batch.target.float(), reduction="none")
    squares = sum((parameter.square().sum() for parameter in model.parameters()), batch.weight.new_zeros(()))
    return {"error": (errors * batch.weight).mean(), "penalty": squares * PENALTY}


def evaluation_step(model: nn.Module, batch: Row) -> dict[str, Tensor | tuple[Tensor, Tensor]]:
    """Return the squared error with the weight of each row, and whether the prediction is near."""
    errors = model(batch.inputs) - batch.target
    return {"error": (errors.square(), batch.weight), "within_half": (errors.abs() < 0.5).double()}
