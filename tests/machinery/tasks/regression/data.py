"""Generate rows of a table, with noise that depends on the visit."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spot.trainer import Data, Sample
from tests.machinery.tasks.regression.config import Config

COLUMNS = 6
TRAIN, HELD_OUT = 150, 40


class Row(NamedTuple):
    """Hold one row; a batch has the same fields."""

    inputs: Tensor
    target: Tensor
    weight: Tensor


def load(config: Config, uri: str) -> Data:  # noqa: ARG001
    """Return the rows."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn((TRAIN + HELD_OUT, COLUMNS), generator=generator)
    weights = torch.rand(TRAIN + HELD_OUT, generator=generator)
    return Data(
        train=Rows(inputs[:TRAIN], weights[:TRAIN], noise=0.1),
        held_out=Rows(inputs[TRAIN:], weights[TRAIN:], noise=0.0),
        objects=(),
    )


class Rows:
    """Return rows whose target is a smooth function of the inputs."""

    def __init__(self, inputs: Tensor, weights: Tensor, *, noise: float) -> None:
        self._inputs, self._weights, self._noise = inputs, weights, noise

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, sample: Sample) -> Row:
        inputs = self._inputs[sample.index]
        target = inputs.sum().div(2).tanh() + self._noise * sample.generator().gauss(0, 1)
        return Row(inputs, target, self._weights[sample.index])
