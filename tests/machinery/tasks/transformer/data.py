"""Generate texts in which each token follows from the one before, with noise that depends on the visit."""

from __future__ import annotations

import torch
from torch import Tensor

from spot.trainer import Data, Sample
from tests.machinery.tasks.transformer.config import Config

TOKENS, LENGTH = 128, 12
TRAIN, HELD_OUT = 250, 21
"""Neither is divisible by 2, 3 or 4."""


def load(config: Config, uri: str) -> Data:  # noqa: ARG001
    """Return the texts."""
    return Data(train=Texts(TRAIN, noise=0.1), held_out=Texts(HELD_OUT, noise=0.0), objects=())


class Texts:
    """Return `LENGTH` tokens and their successors."""

    def __init__(self, count: int, *, noise: float) -> None:
        self._count, self._noise = count, noise

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, sample: Sample) -> tuple[Tensor, Tensor]:
        chance = sample.generator()
        tokens = [sample.index % TOKENS]
        for _ in range(LENGTH):
            noisy = chance.random() < self._noise
            tokens.append(chance.randrange(TOKENS) if noisy else (tokens[-1] * 5 + 3) % TOKENS)
        return torch.tensor(tokens[:-1]), torch.tensor(tokens[1:])
