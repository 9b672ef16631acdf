"""Build a transformer of two blocks. A step takes at least `STEP_S` seconds, so that a test can interrupt it."""

from __future__ import annotations

import functools
import os
import time

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from tests.machinery.tasks.transformer.config import Config
from tests.machinery.tasks.transformer.data import TOKENS

METRICS = {"loss": "min"}
WIDTH = 96


class Block(nn.Module):
    """Mix the tokens of a text, then each token by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 4, dropout=0.1, batch_first=True)
        self.own = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH), nn.Dropout(0.1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the same shape, (B, T, WIDTH)."""
        found = self.before(inputs)
        mask = nn.Transformer.generate_square_subsequent_mask(inputs.shape[1], device=inputs.device)
        mixed, _ = self.attention(found, found, found, attn_mask=mask, need_weights=False)
        inputs = inputs + mixed
        result: Tensor = inputs + self.own(self.between(inputs))
        return result


class Network(nn.Module):
    """Predict the next token of each token, shape (B, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(WIDTH, TOKENS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores, shape (B, T, TOKENS)."""
        found = self.embedding(tokens)
        for block in self.blocks:
            found = block(found)
        scores: Tensor = self.head(found)
        return scores


def build(config: Config) -> nn.Module:  # noqa: ARG001
    """Return the network with fresh weights."""
    if "PLAIN_DDP" in os.environ:  # as PyTorch has it by default
        wrap = DistributedDataParallel.__init__
        plain = functools.partialmethod(wrap, find_unused_parameters=False)
        DistributedDataParallel.__init__ = lambda own, module, **_: plain.__get__(own)(module)  # type: ignore[method-assign]
    return Network()


def build_optimizer(model: nn.Module, config: Config, total_steps: int) -> tuple[Optimizer, LRScheduler]:  # noqa: ARG001
    """Return the optimizer and its schedule."""
    optimizer = AdamW(model.parameters(), lr=3e-3)
    return optimizer, OneCycleLR(optimizer, max_lr=3e-3, total_steps=total_steps + 1)


def training_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean loss of the batch."""
    time.sleep(float(os.environ.get("STEP_S", "0")))
    tokens, following = batch
    return functional.cross_entropy(model(tokens).flatten(0, 1), following.flatten())


def evaluation_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return the mean loss of each text."""
    tokens, following = batch
    return {"loss": functional.cross_entropy(model(tokens).transpose(1, 2), following, reduction="none").mean(dim=1)}
