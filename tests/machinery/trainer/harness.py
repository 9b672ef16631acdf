"""Train in this process on a few digits, stop at any place, and restore from bytes alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from safetensors.torch import save
from torch.amp.grad_scaler import GradScaler

from spot.core.clock import SystemClock
from spot.trainer.checkpoint.serialize import StagingWriter, parse
from spot.trainer.context import Runtime
from spot.trainer.dataset import Data, TaskModel
from spot.trainer.loop import Compute, train
from spot.trainer.progress import ProgressDisplay
from spot.trainer.runtime.errors import Stopped
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.state import TrainingPlan, TrainingState
from spot.trainer.tensorboard import Scalars
from spot.trainer.uploader.buffer import SharedBuffer
from tests.machinery.fixture_task import model
from tests.machinery.fixture_task.data import load


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Describe a small training."""

    samples: int = 50
    batch_size: int = 8
    accumulate: int = 3
    epochs: int = 2
    max_steps: int | None = None
    patience: int = 0
    mixed: bool = False
    workers: int = 0
    seed: int = 0

    @property
    def plan(self) -> TrainingPlan:
        return TrainingPlan(
            samples=self.samples,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            epochs=self.epochs,
            max_steps=self.max_steps,
        )


class StopAfter(StopSignal):
    """Stop at the n-th check of the loop: it checks before and after each batch and evaluation."""

    def __init__(self, checks: int | None) -> None:
        super().__init__()
        self.left = checks

    def check(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Hold the results that must not depend on interruptions."""

    weights: bytes
    history: list[dict[str, float]] = field(repr=False)
    order_digest: str
    steps: int


class _Few:
    def __init__(self, samples: object, count: int) -> None:
        self._samples = samples
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, sample: object) -> object:
        return self._samples[sample]  # type: ignore[index]


_DATA = load("sample")


def fresh(case: Case) -> TrainingState:
    """Return a state as a start of the trainer builds it, with seeded generators."""
    random.seed(case.seed)
    np.random.seed(case.seed)
    torch.manual_seed(case.seed)
    network = model.build()
    optimizer, scheduler = model.build_optimizer(network, 0.01, case.plan.total_steps)
    return TrainingState(
        model=network,
        optimizer=optimizer,
        scheduler=scheduler,
        scaler=GradScaler("cpu", enabled=case.mixed, init_scale=4.0, growth_interval=2),
        plan=case.plan,
        patience=case.patience,
        score_name=model.SCORE,
    )


def advance(state: TrainingState, case: Case, stop: StopSignal) -> bool:
    """Continue training, and return whether it reached the end."""
    data = Data(train=_Few(_DATA.train, case.samples), held_out=_Few(_DATA.held_out, 10), objects=())  # type: ignore[arg-type]
    try:
        train(
            state,
            cast(TaskModel, model),
            data,
            compute=Compute(device=torch.device("cpu"), mixed=case.mixed, workers=case.workers),
            seed=case.seed,
            runtime=Runtime(),
            stop=stop,
            checkpointer=None,
            progress=ProgressDisplay(1e9, SystemClock(), terminal=False),
            scalars=Scalars(None, "test", SystemClock()),
        )
    except Stopped:
        return False
    return True


def carried_over(state: TrainingState, case: Case) -> TrainingState:
    """Return the state as a later start of the trainer restores it."""
    buffer = SharedBuffer()
    size = StagingWriter(buffer).write(*state.capture())
    image = bytearray(buffer.view(size)[:size])
    disturb()
    successor = fresh(case)
    successor.restore(*parse(memoryview(image)))
    return successor


def disturb() -> None:
    """Advance every generator."""
    random.random()
    np.random.random()
    torch.rand(3)


def run(case: Case, checks: list[int]) -> Result:
    """Train to the end, stopped after each number of checks in turn."""
    state = fresh(case)
    for count in checks:
        if advance(state, case, StopAfter(count)):
            break
        state = carried_over(state, case)
    assert advance(state, case, StopAfter(None))
    return Result(
        weights=save({name: tensor.contiguous() for name, tensor in state.final_weights().items()}),
        history=state.counters.history,
        order_digest=state.counters.order_digest,
        steps=state.step,
    )
