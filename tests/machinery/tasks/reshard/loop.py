"""Restore, train one step, and stop: print digests of what was restored and of what is saved."""

from __future__ import annotations

import hashlib
import os
import signal
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from spot.trainer import Session
from spot.trainer.checkpoint import boxes
from tests.machinery.tasks.transformer.data import TOKENS
from tests.machinery.tasks.transformer.model import Network

SAMPLES = 240
BATCH = 12


class Texts:
    """Provide texts that depend on their index only."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, sample: Any) -> Tensor:
        return torch.randint(0, TOKENS, (9,), generator=torch.Generator().manual_seed(sample.index))


def main() -> None:
    with Session.from_environment() as session:
        model = session.wrap(Network())
        optimizer = AdamW(model.parameters())
        loader = session.loader(Texts(), batch_size=BATCH)
        session.track(total_steps=100, model=model, optimizer=optimizer, loader=loader)
        _say("restored", session, model, optimizer, loader.order_digest)
        texts = next(iter(loader))
        functional.cross_entropy(model(texts[:, :-1]).flatten(0, 1), texts[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        os.kill(os.getpid(), signal.SIGTERM)
        _say("saves", session, model, optimizer, loader.order_digest)
        session.step()


def _say(what: str, session: Session, model: nn.Module, optimizer: Optimizer, order: str) -> None:
    found = hashlib.sha256()
    for name, value in model.state_dict().items():
        found.update(name.encode() + boxes.whole(value).detach().contiguous().numpy().tobytes())
    for values in optimizer.state_dict()["state"].values():
        for name, value in sorted(values.items()):
            found.update(name.encode() + boxes.whole(value).detach().contiguous().numpy().tobytes())
    if os.environ.get("RANK", "0") == "0":
        print(what, session.steps + (what == "saves"), found.hexdigest(), order or "none", flush=True)
