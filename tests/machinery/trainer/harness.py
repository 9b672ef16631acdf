"""Train in this process on a few patterns, stop at any place, and restore from bytes alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from safetensors.torch import save

from spot.storage.local import LocalStore
from spot.trainer.checkpoint.serialize import StagingWriter, parse
from spot.trainer.context import Runtime, Start
from spot.trainer.data.contract import TaskModel
from spot.trainer.loop import train
from spot.trainer.metrics import parse_metrics
from spot.trainer.runtime import flags
from spot.trainer.runtime.errors import Stopped
from spot.trainer.runtime.flags import Flags
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.session import Session
from spot.trainer.state import TrainingState
from spot.trainer.uploader.buffer import SharedBuffer
from tests.machinery.fixture_task import TASK, model
from tests.machinery.fixture_task.config import Config
from tests.machinery.fixture_task.data import load


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Describe a small training."""

    samples: int = 50
    arguments: tuple[str, ...] = ("--batch-size", "24", "--accumulate", "3", "--epochs", "2")
    more: tuple[str, ...] = ()
    direction: str = "max"
    metric: str = "accuracy"

    @property
    def flags(self) -> Flags:
        return flags.parse([*self.arguments, *self.more, "--device", "cpu", "--log-interval", "1e9"], {}, Config)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.samples // self.flags.batch_size)

    @property
    def total_steps(self) -> int:
        return self.flags.epochs * self.steps_per_epoch


class StopAfter(StopSignal):
    """Stop at the n-th check of the loop: it checks before each step, after each step, and before each evaluation."""

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


class InMemorySession(Session):
    """Start from a captured state instead of a store, and never save."""

    captured: bytes | None = None
    checks: int | None = None

    def track(self, **given: object) -> None:
        super().track(**given)  # type: ignore[arg-type]
        if self.captured:
            self.state.restore(*parse(memoryview(bytearray(self.captured))))
            self._engine._positions = self._engine._training_positions()
        cast(StopAfter, self._stop).left = self.checks

    @property
    def state(self) -> TrainingState:
        return self._engine.state

    @property
    def result(self) -> Result:
        state = self.state
        state.load_shipped()
        assert state.shipped_module
        return Result(
            weights=save({name: tensor.contiguous() for name, tensor in state.shipped_module.state_dict().items()}),
            history=state.counters.history,
            order_digest=self._engine.loaders[0].order_digest,
            steps=state.step,
        )


class Few:
    """Hold the first samples of a data set."""

    def __init__(self, samples: object, count: int) -> None:
        self._samples = samples
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, sample: object) -> object:
        return self._samples[sample]  # type: ignore[index]


_DATA = load(Config(), "sample")


def start(case: Case, captured: bytes | None, checks: int | None) -> tuple[InMemorySession, bool]:
    """Train from a captured state until a stop, and return the session, and whether it reached the end."""
    data = replace(
        _DATA,
        train=Few(_DATA.train, case.samples),
        held_out=Few(_DATA.held_out, 10),
        objects=(),
    )
    begun = Start(task=TASK, flags=case.flags, outputs=LocalStore("/nowhere"), stop=StopAfter(None), runtime=Runtime())
    session = InMemorySession(begun, metrics={case.metric: case.direction})
    session.captured, session.checks = captured, checks
    session.__enter__()
    try:
        train(session, cast(TaskModel, model), data, case.flags)
    except Stopped:
        return session, False
    return session, True


def capture(state: TrainingState) -> bytes:
    """Return a checkpoint of the state."""
    buffer = SharedBuffer()
    size = StagingWriter(buffer).write(*state.capture())
    return bytes(buffer.view(size)[:size])


def disturb() -> None:
    """Advance every generator."""
    random.random()
    np.random.random()
    torch.rand(3)


def run(case: Case, checks: list[int]) -> Result:
    """Train to the end, stopped after each number of checks in turn."""
    captured = None
    for count in checks:
        session, ended = start(case, captured, count)
        if ended:
            return session.result
        captured = capture(session.state)
        disturb()
    session, ended = start(case, captured, None)
    assert ended
    return session.result


def fresh(
    *, total_steps: int = 10, patience: int = 0, network: torch.nn.Module | None = None, **metrics: str
) -> TrainingState:
    """Return the state of the fixture task before the first step."""
    torch.manual_seed(0)
    built = model.build(Config()) if network is None else network
    optimizer, scheduler = model.build_optimizer(built, Config(), total_steps)
    return TrainingState(
        {"model": built, "optimizer": optimizer, "scheduler": scheduler},
        total_steps=total_steps,
        patience=patience,
        metrics=parse_metrics(metrics or model.METRICS),
    )
