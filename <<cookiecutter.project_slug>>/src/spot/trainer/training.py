"""The part of a start that needs torch: build the state, train it, save it, write the results."""

from __future__ import annotations

import contextlib
import importlib
import logging
import random
import time
from functools import partial
from typing import cast

import numpy as np
import torch
from torch.amp.grad_scaler import GradScaler

from spot.storage.records import lease
from spot.storage.records.lease import LeaseLost
from spot.trainer.checkpoint.manager import CheckpointManager
from spot.trainer.context import Saving, Start
from spot.trainer.loop import Machine, train
from spot.trainer.progress import Progress
from spot.trainer.results import write_results
from spot.trainer.resume import resume
from spot.trainer.runtime.errors import Stopped, TrainingError, UsageError
from spot.trainer.runtime.flags import Device, Flags, Precision
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.state import Plan, TrainingState, finite
from spot.trainer.task import TaskData, TaskModel
from spot.trainer.tensorboard import Scalars

LAST_SAVE_S = 600.0
"""How long a finished training waits for its last checkpoint before it is an error."""
LOGS_S = 5.0

_log = logging.getLogger(__name__)


def run_training(start: Start, stop: StopSignal) -> None:
    """Train to the end, or stand by until another attempt has.

    Raises `Stopped` after a save, `LeaseLost` when another attempt goes on, `UsageError` or `TrainingError` when none
    can.
    """
    flags = start.flags
    with stop.interruptible():
        machine = _machine(flags)
        task = cast(TaskModel, importlib.import_module(start.task.model))
        dataset = cast(TaskData, importlib.import_module(start.task.data)).load(flags.data)
        state = _fresh_state(task, flags, machine, len(dataset.train))
        checkpointer = None
        if start.saving:
            checkpointer = resume(start, start.saving, state, machine, dataset.objects)
            if checkpointer is None:
                return
        scalars = Scalars(flags.tensorboard_dir, flags.run)
        scalars.begin(state.step, f"{flags.attempt}.{start.saving.start if start.saving else 0}")
    try:
        with Progress(flags.log_interval) as progress:
            progress.begin(state)
            train(
                state,
                task,
                dataset,
                machine=machine,
                seed=flags.seed,
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
        if checkpointer and checkpointer.durable_step == state.step:  # then it logged nothing that is done again
            scalars.copy(checkpointer, last=True)
            checkpointer.settle(LOGS_S)
        raise
    finally:
        start.step = state.step
        if checkpointer:
            start.durable_step = checkpointer.durable_step
        scalars.close()


def _machine(flags: Flags) -> Machine:
    if flags.device is Device.CUDA and not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine has no GPU that PyTorch can use; ask for one, or --device cpu")
    on_gpu = flags.device is not Device.CPU and torch.cuda.is_available()
    torch.use_deterministic_algorithms(True, warn_only=True)
    return Machine(
        device=torch.device("cuda" if on_gpu else "cpu"),
        mixed=flags.precision is Precision.MIXED or (flags.precision is Precision.AUTO and on_gpu),
        workers=flags.workers,
    )


def _fresh_state(task: TaskModel, flags: Flags, machine: Machine, samples: int) -> TrainingState:
    random.seed(flags.seed)
    np.random.seed(flags.seed % 2**32)
    torch.manual_seed(flags.seed)
    plan = Plan(
        samples=samples,
        batch_size=flags.batch_size,
        accumulate=flags.accumulate,
        epochs=flags.epochs,
        max_steps=flags.max_steps,
    )
    network = task.build().to(machine.device)
    network.train()
    optimizer, scheduler = task.build_optimizer(network, flags.learning_rate, plan.total_steps)
    return TrainingState(
        model=network,
        optimizer=optimizer,
        scheduler=scheduler,
        scaler=GradScaler(machine.device.type, enabled=machine.mixed),
        plan=plan,
        patience=flags.patience,
        score_name=task.SCORE,
    )


def _save_and_leave(state: TrainingState, stop: StopSignal, checkpointer: CheckpointManager, scalars: Scalars) -> None:
    if checkpointer.final_save(state, stop.remaining_s):
        scalars.copy(checkpointer, last=True)
        checkpointer.settle(min(stop.remaining_s() / 2, LOGS_S))
        _log.info("step %d is durable, leaving", state.step)
    else:
        _log.error(
            "step %d could not be saved within %.1f s: step %s is durable",
            state.step,
            stop.grace_s,
            checkpointer.durable_step,
        )


def _finish(
    start: Start, state: TrainingState, stop: StopSignal, checkpointer: CheckpointManager | None, scalars: Scalars
) -> None:
    flags = start.flags
    if checkpointer:
        end = time.monotonic() + LAST_SAVE_S
        if not checkpointer.final_save(state, lambda: min(stop.remaining_s(), end - time.monotonic())):
            stop.check()
            raise TrainingError(f"the last checkpoint, step {state.step}, was not durable after {LAST_SAVE_S:.0f} s")
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
        write_results(start.outputs, flags.run, state.final_weights(), metrics, facts, check_lease=check_lease)
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
            with contextlib.suppress(LeaseLost):  # what it was about is done
                checkpointer.settle(LOGS_S)


def _check_lease(saving: Saving, run: str) -> None:
    held = lease.read(saving.store, run)
    if held and held.holder != saving.name:
        raise LeaseLost(f"the lease of run {run} is {held.holder}'s")
