"""Test task/model.py: the contract with the trainer, that training learns, and that a checkpoint holds its state."""

import math
from statistics import fmean

import pytest
import torch
from conftest import batch, new_state, train_steps

from spot.trainer import Data
from spot.trainer.checkpoint.serialize import StagingWriter, parse
from spot.trainer.state import TrainingState
from spot.trainer.uploader.buffer import SharedBuffer
from task import model

STEPS = 30


@pytest.mark.parametrize("name", ["build", "build_optimizer", "loss", "score"])
def test_model_module_defines_the_functions_of_the_contract(name: str) -> None:
    assert callable(getattr(model, name, None)), f"task/model.py defines no function {name}(): see its docstring"


def test_score_has_a_name() -> None:
    assert isinstance(getattr(model, "SCORE", None), str), "task/model.py defines no text SCORE: the name of the score"


def test_loss_and_score_of_a_batch_are_finite_scalars(state: TrainingState, sample_data: Data) -> None:
    inputs, targets = batch(sample_data.held_out, range(min(8, len(sample_data.held_out))))
    state.model.eval()
    with torch.no_grad():
        outputs = state.model(inputs)
    for name in ("loss", "score"):
        value = getattr(model, name)(outputs, targets)
        assert value.dim() == 0, f"{name}() returns shape {tuple(value.shape)}: return one number for the batch"
        assert math.isfinite(value), f"{name}() returns {float(value)} on the held-out sample"


def test_score_is_a_sum_over_the_batch(state: TrainingState, sample_data: Data) -> None:
    size = min(8, len(sample_data.held_out))
    inputs, targets = batch(sample_data.held_out, range(size))
    state.model.eval()
    with torch.no_grad():
        outputs = state.model(inputs)
    parts = sum(float(model.score(outputs[i : i + 1], targets[i : i + 1])) for i in range(size))
    whole = float(model.score(outputs, targets))
    assert math.isclose(whole, parts, rel_tol=1e-3, abs_tol=1e-6), (
        f"score() of {size} samples is {whole}, of each alone {parts} in sum: return the sum, not the mean"
    )


def test_a_few_steps_lower_the_loss(state: TrainingState, sample_data: Data) -> None:
    losses = train_steps(state, sample_data.train, STEPS)
    first, last = fmean(losses[:5]), fmean(losses[-5:])
    assert last < first, f"{STEPS} steps on one batch took the loss from {first:.4g} to {last:.4g}: check loss and rate"


def test_every_value_of_the_state_fits_a_checkpoint(state: TrainingState, sample_data: Data) -> None:
    """Without this test, the first save on a paid machine would fail."""
    train_steps(state, sample_data.train, 2)  # optimizers create their state at the first step
    tensors, rest = state.capture()  # raises TypeError with the name of a value that does not fit
    buffer = SharedBuffer()
    size = StagingWriter(buffer).write(tensors, rest)
    train_steps(state, sample_data.train, 1)

    resumed = new_state(sample_data)
    resumed.restore(*parse(buffer.view(size)[:size]))

    again, rest_again = resumed.capture()
    read, _ = parse(buffer.view(size)[:size])
    assert rest_again == rest, "a state_dict() differs after load_state_dict(): numbers, texts or structure"
    changed = [name for name in read if not torch.equal(read[name], again[name])]
    assert not changed, f"a state_dict() differs after load_state_dict(): {', '.join(changed)}"
