"""Train a GPT-like model with AdamW of a given size, in steps as short as kernel launches on a GPU.

All of the state is real: parameters in many tensors, and AdamW's moments after one step of all of them. From then on a
step trains a small part only, in some thousand small operations. That is what the interpreter does while a GPU has
the arithmetic: it launches kernels, on one core, and every pause of it delays training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BYTES_PER_PARAMETER = 12
"""Bytes of a weight and two moments in float32."""
SMALL_WIDTH, SMALL_LAYERS, SMALL_BATCH = 64, 8, 16
HEAD = 64
"""GPT-2's width per layer."""
SEED = 0


class Workload:
    """Hold model and optimizer, and make training steps."""

    def __init__(self, size: int) -> None:
        torch.manual_seed(SEED)
        trained = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(SMALL_WIDTH, SMALL_WIDTH), nn.GELU(), nn.LayerNorm(SMALL_WIDTH))
                for _ in range(SMALL_LAYERS)
            )
        )
        self.model = nn.ModuleDict({"trunk": _trunk(size // BYTES_PER_PARAMETER), "trained": trained})
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        for parameter in self.model.parameters():
            parameter.grad = torch.rand_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._inputs = torch.randn(SMALL_BATCH, SMALL_WIDTH)
        self._trained = trained
        self.steps = 0

    def step(self) -> None:
        loss = self._trained(self._inputs).square().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1

    def tensors(self) -> list[Tensor]:
        """Return the content of a checkpoint."""
        moments = [value for entry in self.optimizer.state.values() for value in entry.values()]
        return [*self.model.state_dict().values(), *moments]


def size_of(tensors: list[Tensor]) -> int:
    """Return the total bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _trunk(parameters: int) -> nn.Module:
    """Return GPT-2 blocks with 70 % of the parameters, and embeddings with the rest."""
    width = max(64, round((0.7 * parameters * HEAD / 12) ** (1 / 3) / HEAD) * HEAD)
    layers = max(1, round(0.7 * parameters / (12 * width**2)))
    blocks = nn.ModuleList(_block(width) for _ in range(layers))
    rest = parameters - sum(parameter.numel() for parameter in blocks.parameters())
    return nn.ModuleDict({"embedding": nn.Embedding(max(1, rest // width), width), "blocks": blocks})


def _block(width: int) -> nn.Module:
    return nn.ModuleDict(
        {
            "norm_1": nn.LayerNorm(width),
            "attention": nn.Linear(width, 3 * width),
            "projection": nn.Linear(width, width),
            "norm_2": nn.LayerNorm(width),
            "up": nn.Linear(width, 4 * width),
            "down": nn.Linear(4 * width, width),
        }
    )
