"""Build the training state, train it, save it and write the results: the part of a start that needs torch."""

import contextlib
import importlib
import logging
import random
from functools import partial
from typing import cast

import numpy as np
import torch
from torch.amp.grad_scaler import GradScaler

from spot.core.errors import PermissionDenied
from spot.storage.base import Damaged
from spot.storage.records import lease
from spot.storage.records.lease import LeaseLost
from spot.trainer.checkpoint.manager import CheckpointManager
from spot.trainer.context import Saving, Start
from spot.trainer.dataset import TaskData, TaskModel
from spot.trainer.loop import Compute, check_shared_memory, train
from spot.trainer.progress import ProgressDisplay
from spot.trainer.results import write_results
from spot.trainer.resume import resume
from spot.trainer.runtime.errors import StartAgain, Stopped, UsageError
from spot.trainer.runtime.flags import Device, Flags, Precision
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.state import TrainingPlan, TrainingState, finite
from spot.trainer.tensorboard import Scalars

LAST_SAVE_S = 600.0
"""The longest wait for the last checkpoint of a finished training."""
LOGS_S = 5.0

_log = logging.getLogger(__name__)


def run_training(start: Start, stop: StopSignal) -> None:
    """Train to the end, as a standby after a hand-over.

    Raise `Stopped` after a save on a signal, `LeaseLost` when another attempt trains the run, `StartAgain` when this
    start cannot go on, and `UsageError` or `TrainingError` when no attempt can.
    """
    flags = start.flags
    with stop.interruptible():
        compute = _compute(flags)
        task = cast(TaskModel, importlib.import_module(start.task.model))
        dataset = cast(TaskData, importlib.import_module(start.task.data)).load(flags.data)
        check_shared_memory(dataset, flags.batch_size, compute)
        state = fresh_state(task, flags, compute, len(dataset.train))
        checkpointer = None
        if start.saving:
            checkpointer = resume(start, start.saving, state, compute, dataset.objects)
            if checkpointer is None:
                return
        scalars = Scalars(flags.tensorboard_dir, flags.run, start.runtime.clock)
        scalars.begin(state.step, f"{flags.attempt}.{start.saving.start if start.saving else 0}")
    try:
        with ProgressDisplay(flags.log_interval, start.runtime.clock) as progress:
            progress.begin(state)
            train(
                state,
                task,
                dataset,
                compute=compute,
                seed=flags.seed,
                runtime=start.runtime,
                stop=stop,
                checkpointer=checkpointer,
                progress=progress,
                scalars=scalars,
            )
        _finish(start, state, stop, checkpointer, scalars)
    except Stopped:
        if checkpointer:
            _save_and_leave(state, stop, checkpointer, scalars)
        raise
    except LeaseLost:
        if checkpointer and checkpointer.durable_step == state.step:  # no step in the logs is computed again
            scalars.copy(checkpointer, last=True)
            checkpointer.settle(LOGS_S)
        raise
    except PermissionDenied as error:
        if checkpointer and checkpointer.saved:  # the store accepted writes of this start
            raise StartAgain(str(error)) from error
        raise
    finally:
        start.step = state.step
        if checkpointer:
            start.durable_step = checkpointer.durable_step
        scalars.close()


def _compute(flags: Flags) -> Compute:
    if flags.device is Device.CUDA and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch finds no GPU on this machine; use --device auto or cpu")
    on_gpu = flags.device is not Device.CPU and torch.cuda.is_available()
    torch.use_deterministic_algorithms(True, warn_only=True)
    return Compute(
        device=torch.device("cuda" if on_gpu else "cpu"),
        mixed=flags.precision is Precision.MIXED or (flags.precision is Precision.AUTO and on_gpu),
        workers=flags.workers,
    )


def fresh_state(task: TaskModel, flags: Flags, compute: Compute, samples: int) -> TrainingState:
    """Seed the global generators, and return the state before the first step."""
    random.seed(flags.seed)
    np.random.seed(flags.seed % 2**32)
    torch.manual_seed(flags.seed)
    plan = TrainingPlan(
        samples=samples,
        batch_size=flags.batch_size,
        accumulate=flags.accumulate,
        epochs=flags.epochs,
        max_steps=flags.max_steps,
    )
    network = task.build().to(compute.device)
    network.train()
    optimizer, scheduler = task.build_optimizer(network, flags.learning_rate, plan.total_steps)
    return TrainingState(
        model=network,
        optimizer=optimizer,
        scheduler=scheduler,
        scaler=GradScaler(compute.device.type, enabled=compute.mixed),
        plan=plan,
        patience=flags.patience,
        score_name=task.SCORE,
    )


def _save_and_leave(state: TrainingState, stop: StopSignal, checkpointer: CheckpointManager, scalars: Scalars) -> None:
    if checkpointer.final_save(state, stop.remaining_s):
        scalars.copy(checkpointer, last=True)
        checkpointer.settle(min(stop.remaining_s() / 2, LOGS_S))
        _log.info("step %d: durable, exiting", state.step)
    else:
        _log.error(
            "step %d: not saved within the grace of %.1f s; step %s is durable",
            state.step,
            stop.grace_s,
            checkpointer.durable_step,
        )


def _finish(
    start: Start, state: TrainingState, stop: StopSignal, checkpointer: CheckpointManager | None, scalars: Scalars
) -> None:
    flags, clock = start.flags, start.runtime.clock
    ended = clock.monotonic()
    if checkpointer:
        end = ended + LAST_SAVE_S
        if not checkpointer.final_save(state, lambda: min(stop.remaining_s(), end - clock.monotonic())):
            stop.check()
            raise StartAgain(f"the last checkpoint, step {state.step}, is not durable after {LAST_SAVE_S:.0f} s")
    with stop.interruptible():
        if checkpointer:
            scalars.copy(checkpointer, last=True)
        counters = state.counters
        history = [finite(entry) for entry in counters.history]
        metrics = {
            "steps": state.step,
            "total_steps": state.plan.total_steps,
            "score": state.score_name,
            "final": history[-1] if history else {},
            "best": {"step": counters.best_step, state.score_name: counters.best_score},
            "samples_digest": counters.order_digest,
            "history": history,
        }
        facts = {
            "attempt": flags.attempt,
            "start": start.saving.start if start.saving else None,
            "steps": state.step,
            "compute_seconds": round(state.compute_seconds, 3),
            "metrics": metrics["final"],
        }
        check_lease = partial(_check_lease, start.saving, flags.run) if start.saving else None
        if check_lease:
            check_lease()
        write_results(
            start.outputs,
            flags.run,
            state.final_weights(),
            metrics,
            facts,
            clock=clock,
            ended=ended,
            check_lease=check_lease,
        )
        start.done = True
        newest = counters.history[-1][state.score_name] if counters.history else float("nan")
        _log.info(
            "run %s is complete: %s %.4f after %d steps, %s/%s",
            flags.run,
            state.score_name,
            newest,
            state.step,
            start.outputs.uri,
            flags.run,
        )
        if checkpointer:
            with contextlib.suppress(LeaseLost):  # the results are already written
                checkpointer.settle(LOGS_S)


def _check_lease(saving: Saving, run: str) -> None:
    try:
        held = lease.read(saving.store, run)
    except Damaged as error:
        raise StartAgain(f"{error}; the next start claims the lease anew") from error
    if held and held.holder != saving.name:
        raise LeaseLost(f"process {held.holder} holds the lease of run {run}")
