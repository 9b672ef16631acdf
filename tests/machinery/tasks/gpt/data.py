"""Generate texts of different lengths: periodic ones that a model can learn, or noise that it can only memorize."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from spot.trainer import Data, Sample
from tests.machinery.tasks.gpt.config import Config

SYMBOLS = 32
CONTEXT = 16
TRAIN, HELD_OUT = 80, 30
IGNORED = -100
"""The label that the loss of transformers leaves out."""


def load(config: Config, uri: str) -> Data:  # noqa: ARG001
    """Return periodic texts for "sample", else noise."""
    texts = [_text(index, noise=uri != "sample") for index in range(TRAIN + HELD_OUT)]
    return Data(train=Texts(texts[:TRAIN]), held_out=Texts(texts[TRAIN:]), objects=(), collate=padded)


class Texts:
    """Hold texts as lists of symbols."""

    def __init__(self, texts: list[list[int]]) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, sample: Sample) -> list[int]:
        return self._texts[sample.index]


def padded(texts: list[list[int]]) -> dict[str, Tensor]:
    """Return the inputs of the model, padded to the longest text."""
    longest = max(map(len, texts))
    return {
        "input_ids": torch.tensor([text + [0] * (longest - len(text)) for text in texts]),
        "attention_mask": torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts]),
        "labels": torch.tensor([text + [IGNORED] * (longest - len(text)) for text in texts]),
    }


def _text(index: int, *, noise: bool) -> list[int]:
    chance = random.Random(index)
    length = chance.randint(CONTEXT // 2, CONTEXT)
    if noise:
        return [chance.randrange(1, SYMBOLS) for _ in range(length)]
    first = chance.randrange(SYMBOLS)
    return [1 + (first + 3 * place) % (SYMBOLS - 1) for place in range(length)]
