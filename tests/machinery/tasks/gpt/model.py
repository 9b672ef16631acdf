"""Build a small GPT-2 of transformers from its configuration."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler
from transformers import GPT2Config, GPT2LMHeadModel

from tests.machinery.tasks.gpt.config import Config
from tests.machinery.tasks.gpt.data import CONTEXT, SYMBOLS

METRICS = {"perplexity": "exp min"}


def build(config: Config) -> nn.Module:
    """Return the model with fresh weights; input and output embeddings are one tensor."""
    width, dropout = config.model.width, config.model.dropout
    built: nn.Module = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=SYMBOLS,
            n_positions=CONTEXT,
            n_embd=width,
            n_layer=config.model.layers,
            n_head=2,
            bos_token_id=0,
            eos_token_id=0,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=dropout,
        )
    )
    return built


def build_optimizer(model: nn.Module, config: Config, total_steps: int) -> tuple[Optimizer, LRScheduler]:
    """Return the optimizer with two groups, and a linear schedule."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr=config.training.learning_rate)
    return optimizer, LinearLR(optimizer, 1.0, 0.1, total_iters=total_steps)


def training_step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the loss that the forward pass computes, and the number of tokens."""
    return {"loss": model(**batch).loss, "tokens": batch["attention_mask"].sum()}


def evaluation_step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return mean loss and number of predicted tokens of each text."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    targets = batch["labels"][:, 1:]
    losses = functional.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
    counted = (targets >= 0).sum(dim=1)
    return {"perplexity": (losses.sum(dim=1) / counted.clamp(min=1), counted.to(torch.float64))}
