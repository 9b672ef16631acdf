"""Prepare what the tests share: your task, loaded as the trainer loads it, and processes that can import it."""

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch loads: sums then have one order on every machine

import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from spot.trainer import Data, Sample, Samples
from spot.trainer.loop import Compute
from spot.trainer.runtime.flags import parse
from spot.trainer.state import TrainingState
from spot.trainer.training import fresh_state
from task import data as task_data
from task import model as task_model

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def environ() -> dict[str, str]:
    """Return the environment of a trainer on this machine, without the variables that Vertex AI sets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIP_")}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}


@pytest.fixture(scope="session")
def sample_data() -> Data:
    """Return the sample of your data in task/sample/."""
    return task_data.load("sample")


@pytest.fixture
def state(sample_data: Data) -> TrainingState:
    """Return your model, optimizer and schedule before the first step, on the CPU."""
    return new_state(sample_data)


def learning_rate() -> list[str]:
    """Return the flag of spot.toml, if it is set."""
    rate = tomllib.loads((ROOT / "spot.toml").read_text(encoding="utf-8")).get("training", {}).get("learning-rate")
    return ["--learning-rate", str(rate)] if rate else []


def new_state(sample_data: Data) -> TrainingState:
    flags = parse(["--max-steps", "30", *learning_rate()], {})
    compute = Compute(device=torch.device("cpu"), mixed=False, workers=0)
    return fresh_state(task_model, flags, compute, len(sample_data.train))


def batch(samples: Samples, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of these samples as the training loop sees them."""
    inputs, targets = default_collate([samples[Sample(seed=0, epoch=0, index=index)] for index in indices])
    return inputs, targets


def train_steps(state: TrainingState, samples: Samples, steps: int) -> list[float]:
    """Train on the same batch `steps` times and return the losses."""
    inputs, targets = batch(samples, range(min(64, len(samples))))
    losses = []
    for _ in range(steps):
        loss = task_model.loss(state.model(inputs), targets)
        loss.backward()
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.scheduler.step()
        losses.append(loss.item())
    return losses
