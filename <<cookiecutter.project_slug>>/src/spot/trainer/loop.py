"""Train epochs of batches, evaluate, and save: the training loop, to be read top to bottom."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from spot.trainer.checkpoint.manager import CheckpointManager
from spot.trainer.context import Runtime
from spot.trainer.dataset import BatchSampler, Data, Sample, Samples, TaskModel
from spot.trainer.progress import ProgressDisplay
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.signals import StopSignal, leave_signals_to_the_parent, signals_held
from spot.trainer.state import TrainingState
from spot.trainer.tensorboard import Scalars

SHARED_MEMORY = "/dev/shm"
PREFETCHED = 2
"""Batches that each data worker prepares ahead."""
Batch = tuple[list[int], Tensor, Tensor]
"""Indices of the samples, inputs, targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Choose device, precision and data workers."""

    device: torch.device
    mixed: bool
    workers: int

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.float16, enabled=self.mixed)


def train(
    state: TrainingState,
    task: TaskModel,
    data: Data,
    *,
    compute: Compute,
    seed: int,
    stop: StopSignal,
    checkpointer: CheckpointManager | None,
    progress: ProgressDisplay,
    scalars: Scalars,
    runtime: Runtime,
) -> None:
    """Train `state` until it is finished.

    Raise `Stopped` between two batches, with `state` ready to be saved. A resume repeats an evaluation or a wait for
    data that was interrupted. Raise `LeaseLost` once another attempt trains the run.
    """
    plan, counters, model = state.plan, state.counters, state.model
    order = BatchSampler(
        seed=seed, size=plan.samples, batch_size=plan.batch_size, epoch=counters.epoch, offset=counters.offset
    )
    batches = _loader(data.train, order, compute)
    first_step, began, carried = state.step, runtime.clock.monotonic(), state.compute_seconds

    while True:
        if state.evaluation_due:
            started = runtime.clock.monotonic()
            with stop.interruptible():
                mean_loss, score = evaluate(state, task, data.held_out, compute, seed)
            ended = runtime.clock.monotonic()
            improved = state.evaluated(score, mean_loss, ended - started)
            state.compute_seconds = carried + ended - began
            scalars.evaluated(state)
            if checkpointer and improved and not checkpointer.busy:
                checkpointer.save(state)
        if state.finished:
            return

        with stop.interruptible():
            indices, inputs, targets = next(batches)
        # Every sample of the step has equal weight, also when its last batch is short.
        group = min(plan.step_size, plan.samples - counters.offset // plan.step_size * plan.step_size)
        with compute.autocast():
            loss = task.loss(model(inputs), targets)
        state.scaler.scale(loss * (len(indices) / group)).backward()  # type: ignore[no-untyped-call]
        if state.consumed(indices, loss):
            state.scaler.step(state.optimizer)
            state.scaler.update()
            state.optimizer.zero_grad(set_to_none=True)
            state.scheduler.step()
            state.stepped()
            runtime.on_step(state.step, plan.total_steps)
            elapsed = runtime.clock.monotonic() - began
            state.compute_seconds = carried + elapsed
            state.steps_per_second = (state.step - first_step) / elapsed if elapsed > 0 else 0.0
            progress.stepped(state)
            scalars.stepped(state)
            if checkpointer:
                checkpointer.poll()
                if checkpointer.wanted and not state.finished:
                    checkpointer.hand_over(state, stop)
                if checkpointer.due():
                    checkpointer.save(state)
                    scalars.copy(checkpointer)
        stop.check()


def evaluate(
    state: TrainingState, task: TaskModel, samples: Samples, compute: Compute, seed: int
) -> tuple[float, float]:
    """Return mean loss and mean score on the held-out data. Keep the training state, also when interrupted."""
    keys = [Sample(seed=seed, epoch=0, index=index) for index in range(len(samples))]
    size = state.plan.batch_size
    sampler = [keys[start : start + size] for start in range(0, len(keys), size)]
    loss = score = torch.zeros((), dtype=torch.float64, device=compute.device)
    state.model.eval()
    try:
        with torch.no_grad():
            for _, inputs, targets in _loader(samples, sampler, compute):
                with compute.autocast():
                    outputs = state.model(inputs)
                    loss = loss + task.loss(outputs, targets).double() * len(targets)
                score = score + task.score(outputs, targets)
    finally:
        state.model.train()
    return float(loss) / len(samples), float(score) / len(samples)


def check_shared_memory(data: Data, batch_size: int, compute: Compute) -> None:
    """Raise `UsageError` if the batches that data workers prepare do not fit into shared memory."""
    if not compute.workers or not Path(SHARED_MEMORY).exists():
        return
    disk = os.statvfs(SHARED_MEMORY)
    free, ahead = disk.f_bavail * disk.f_frsize, compute.workers * PREFETCHED * batch_size
    # A worker reads the sample: a data set may open its files on the first read, and must not do so before the fork.
    one = replace(compute, workers=1, device=torch.device("cpu"))
    try:
        _, inputs, targets = next(_loader(data.train, [[Sample(seed=0, epoch=0, index=0)]], one))
    except RuntimeError as error:
        if "shared memory" not in str(error):
            raise
        needed = "more shared memory for a single sample"
    else:
        size = (ahead + min(ahead, len(data.held_out))) * (inputs.nbytes + targets.nbytes)
        if size <= free:
            return
        needed = f"{size / 1e6:.0f} MB of shared memory for batches of {batch_size} samples"
    raise UsageError(
        f"--workers {compute.workers} needs {needed}, and {SHARED_MEMORY} has {free / 1e6:.0f} MB: use fewer workers,"
        " or --workers 0"
    )


class _Indexed(Dataset[tuple[int, Tensor, Tensor]]):
    """Add its index to each item, so that the digest of the order covers what was really read."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __getitem__(self, sample: Sample) -> tuple[int, Tensor, Tensor]:
        return sample.index, *self._samples[sample]


def _loader(samples: Samples, batches: object, compute: Compute) -> Iterator[Batch]:
    loader: DataLoader[tuple[int, Tensor, Tensor]] = DataLoader(
        _Indexed(samples),
        batch_sampler=batches,  # type: ignore[arg-type]  # any iterable of batches will do
        num_workers=compute.workers,
        prefetch_factor=PREFETCHED if compute.workers else None,
        worker_init_fn=leave_signals_to_the_parent,
        pin_memory=compute.device.type == "cuda",
        # Otherwise each iterator draws its seed from the global generator, and a resume draws once more.
        generator=torch.Generator().manual_seed(0),
    )
    with signals_held():
        loaded = iter(loader)
    for indices, inputs, targets in loaded:
        yield indices.tolist(), inputs.to(compute.device, non_blocking=True), targets.to(compute.device)
