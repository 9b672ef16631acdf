"""Test task/model.py: the contract with the trainer, that training learns, and that a checkpoint holds its state."""

from statistics import fmean

import pytest
import torch
from conftest import TASK_MODEL, batch_of, flags
from torch import Tensor

from spot.trainer import Data, Sample
from spot.trainer.checkpoint.serialize import StagingWriter, parse
from spot.trainer.data.contract import Batch, Samples
from spot.trainer.metrics import means, parse_metrics, per_sample
from spot.trainer.progress import TOKENS
from spot.trainer.state import TrainingState
from spot.trainer.uploader.buffer import SharedBuffer

STEPS = 30
MOST = 8


def new_state() -> TrainingState:
    """Return your model, optimizer and schedule before the first step, on the CPU."""
    torch.manual_seed(0)
    config = flags().config
    model = TASK_MODEL.build(config)
    optimizer, scheduler = TASK_MODEL.build_optimizer(model, config, STEPS)
    tracked = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    return TrainingState(tracked, total_steps=STEPS, patience=0, metrics=parse_metrics(TASK_MODEL.METRICS))


@pytest.fixture
def state() -> TrainingState:
    return new_state()


def batch(data: Data, samples: Samples, size: int, first: int = 0) -> Batch:
    indices = range(first, min(first + size, len(samples)))
    return batch_of(data, samples, [Sample(seed=0, epoch=0, index=index) for index in indices])


def losses(state: TrainingState, of: Batch) -> dict[str, Tensor]:
    returned = TASK_MODEL.training_step(state.modules[0], of)
    return {"loss": returned} if isinstance(returned, Tensor) else dict(returned)


def train(state: TrainingState, of: Batch, steps: int) -> list[float]:
    """Train on the same batch, and return the losses."""
    found = []
    optimizer, scheduler = state.tracked["optimizer"], state.tracked["scheduler"]
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
    for _ in range(steps):
        loss = torch.stack([value for name, value in losses(state, of).items() if name != TOKENS]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        scheduler.step()
        found.append(loss.item())
    return found


def values(state: TrainingState, of: Batch) -> dict[str, Tensor]:
    """Return values and weights of the samples. `per_sample` and `means` raise UsageError with what is wrong."""
    state.modules[0].eval()
    with torch.no_grad():
        returned = TASK_MODEL.evaluation_step(state.modules[0], of)
    samples = per_sample(returned)
    means(samples, state.metrics)
    return samples


@pytest.mark.parametrize("name", ["build", "build_optimizer", "training_step", "evaluation_step"])
def test_model_module_defines_the_functions_of_the_contract(name: str) -> None:
    assert callable(getattr(TASK_MODEL, name, None)), f"task/model.py defines no function {name}(): see its docstring"


def test_every_metric_has_a_direction() -> None:
    """`parse_metrics` raises UsageError otherwise."""
    assert parse_metrics(getattr(TASK_MODEL, "METRICS", None)), "METRICS of task/model.py is empty: name a metric"


def test_losses_of_a_batch_are_finite_means(state: TrainingState, data: Data) -> None:
    found = losses(state, batch(data, data.train, MOST))
    wrong = {name: value for name, value in found.items() if value.dim() or not torch.isfinite(value)}
    assert not wrong, f"training_step() returns {wrong}: return the mean over the batch, one finite number"


def test_values_of_a_sample_are_the_same_in_every_batch(state: TrainingState, data: Data) -> None:
    size = min(MOST, len(data.held_out))
    together = values(state, batch(data, data.held_out, size))
    for index in range(size):
        alone = values(state, batch(data, data.held_out, 1, first=index))
        for name, pair in together.items():
            for kind, whole, own in zip(("value", "weight"), pair, alone[name], strict=True):
                assert len(whole) == size, f"evaluation_step() returns {len(whole)} of {name} for {size} samples"
                same = torch.allclose(whole[index].double(), own[0].double(), rtol=1e-3, atol=1e-4)
                assert same, (
                    f"{kind} {name} of held-out sample {index} is {float(own[0]):.6g} alone, and"
                    f" {float(whole[index]):.6g} in a batch of {size}: it must not depend on the rest of its batch"
                )


def test_a_few_steps_lower_the_loss(state: TrainingState, data: Data) -> None:
    found = train(state, batch(data, data.train, 64), STEPS)
    first, last = fmean(found[:5]), fmean(found[-5:])
    assert last < first, f"{STEPS} steps on one batch took the loss from {first:.4g} to {last:.4g}: check loss and rate"


def test_every_value_of_the_state_fits_a_checkpoint(state: TrainingState, data: Data) -> None:
    """Without this test, the first step on a paid machine would fail."""
    few = batch(data, data.train, MOST)
    train(state, few, 2)  # optimizers create their state at the first step
    state.check()  # raises UsageError with the name of a value that does not fit
    tensors, rest = state.capture()
    buffer = SharedBuffer()
    size = StagingWriter(buffer).write(tensors, rest)
    train(state, few, 1)

    resumed = new_state()
    resumed.restore(*parse(buffer.view(size)[:size]))

    again, rest_again = resumed.capture()
    read, _ = parse(buffer.view(size)[:size])
    assert rest_again == rest, "a state_dict() differs after load_state_dict(): numbers, texts or structure"
    changed = [name for name in read if not torch.equal(read[name], again[name])]
    assert not changed, f"a state_dict() differs after load_state_dict(): {', '.join(changed)}"
