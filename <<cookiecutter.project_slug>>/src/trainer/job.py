"""The part of a start that needs torch: build or restore the state, train it, save it, write the results."""

from __future__ import annotations

import logging
import random
import time

import numpy as np
import torch
from torch.amp.grad_scaler import GradScaler

from bucket import markers
from bucket.manifest import DataObject, Json, Manifest
from bucket.store import Store
from trainer import data, model, restore
from trainer.buffer import SharedBuffer
from trainer.checkpoint import Checkpointer, Identity
from trainer.errors import Stopped, TrainingError, UsageError
from trainer.flags import Device, Flags, Precision, Resume
from trainer.interval import History
from trainer.loop import Machine, train
from trainer.main import Saving, Start
from trainer.output import write_results
from trainer.progress import Progress
from trainer.state import Plan, TrainingState, finite
from trainer.stop import Stop
from trainer.tensorboard import Scalars

LAST_SAVE_S = 600.0
"""How long a finished training waits for its last checkpoint before it is an error."""
LOGS_S = 5.0

_log = logging.getLogger(__name__)


def run_job(start: Start, stop: Stop) -> None:
    """Train to the end. Raises `Stopped` after a save, `UsageError` or `TrainingError` when it cannot go on."""
    flags = start.flags
    with stop.interruptible():
        machine = _machine(flags)
        dataset = data.load(flags.data)
        state = _fresh_state(flags, machine, len(dataset.train))
        checkpointer = _checkpointer(start, start.saving, state, machine, dataset.objects) if start.saving else None
        scalars = Scalars(flags.tensorboard_dir, flags.run)
        scalars.begin(state.step, f"{flags.attempt}.{start.saving.start if start.saving else 0}")
    try:
        with Progress(flags.log_interval) as progress:
            progress.begin(state)
            train(
                state,
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


def _fresh_state(flags: Flags, machine: Machine, samples: int) -> TrainingState:
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
    network = model.build().to(machine.device)
    network.train()
    optimizer, scheduler = model.build_optimizer(network, flags.learning_rate, plan.total_steps)
    return TrainingState(
        model=network,
        optimizer=optimizer,
        scheduler=scheduler,
        scaler=GradScaler(machine.device.type, enabled=machine.mixed),
        plan=plan,
        patience=flags.patience,
        score_name=model.SCORE,
    )


def _checkpointer(
    start: Start, saving: Saving, state: TrainingState, machine: Machine, objects: tuple[DataObject, ...]
) -> Checkpointer:
    """Restore the newest good checkpoint, if any, and be ready for the next."""
    flags, store = start.flags, saving.store
    identity = Identity(
        run=flags.run, attempt=flags.attempt, start=saving.start, config=_config(flags, machine), data=objects
    )
    if flags.resume is Resume.NEVER:
        restore.set_all_aside(store, flags.run)
    restored_step = _restore(store, state, saving.buffer, identity)
    start.durable_step = restored_step
    return Checkpointer(
        uploader=saving.uploader,
        buffer=saving.buffer,
        identity=identity,
        interval_s=flags.checkpoint_interval,
        history=History(preemptions=markers.count_starts(store, flags.run) - 1, compute_seconds=state.compute_seconds),
        restored_step=restored_step,
    )


def _restore(store: Store, state: TrainingState, buffer: SharedBuffer, identity: Identity) -> int | None:
    began = time.monotonic()
    found = restore.newest_good(store, identity.run, buffer, lambda manifest: _accept(manifest, identity))
    if found is None:
        _log.info("run %s begins, %d steps", identity.run, state.plan.total_steps)
        return None
    state.restore(found.tensors, found.rest)
    state.compute_seconds = found.manifest.compute_seconds
    _log.info(
        "step %d of %d: resumed from the checkpoint of attempt %s start %d, %.1f MB in %.2f s",
        state.step,
        state.plan.total_steps,
        found.manifest.attempt,
        found.manifest.start,
        found.manifest.size / 1e6,
        time.monotonic() - began,
    )
    return state.step


def _config(flags: Flags, machine: Machine) -> dict[str, Json]:
    """What the result depends on, by flag."""
    return {
        "epochs": flags.epochs,
        "max-steps": flags.max_steps,
        "batch-size": flags.batch_size,
        "accumulate": flags.accumulate,
        "learning-rate": flags.learning_rate,
        "patience": flags.patience,
        "seed": flags.seed,
        "precision": (Precision.MIXED if machine.mixed else Precision.FULL).value,
    }


def _accept(found: Manifest, own: Identity) -> None:
    """Refuse to go on with other settings or on other data than the checkpoint's."""
    for name in own.config | found.config:
        theirs, ours = found.config.get(name), own.config.get(name)
        if theirs != ours:
            raise UsageError(
                f"run {own.run} was begun with --{name} {theirs} and has reached step {found.step}; it cannot go on"
                f" with --{name} {ours}: use the same value, or another --run"
            )
    for theirs, ours in zip(found.data, own.data, strict=False):
        if (theirs.size, theirs.crc32c) != (ours.size, ours.crc32c):
            raise UsageError(
                f"run {own.run} was begun on {_pin(theirs)}; it cannot go on on {_pin(ours)}: bring the data back, or"
                " use another --run"
            )
    if len(found.data) != len(own.data):
        raise UsageError(
            f"run {own.run} was begun on {len(found.data)} data objects and cannot go on on {len(own.data)}: bring"
            " the data back, or use another --run"
        )


def _pin(item: DataObject) -> str:
    generation = f" generation {item.generation}" if item.generation else ""
    return f"{item.uri}{generation} ({item.size} bytes, CRC32C {item.crc32c:08x})"


def _save_and_leave(state: TrainingState, stop: Stop, checkpointer: Checkpointer, scalars: Scalars) -> None:
    if checkpointer.save_at_last(state, stop.remaining_s):
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
    start: Start, state: TrainingState, stop: Stop, checkpointer: Checkpointer | None, scalars: Scalars
) -> None:
    flags = start.flags
    if checkpointer:
        end = time.monotonic() + LAST_SAVE_S
        if not checkpointer.save_at_last(state, lambda: min(stop.remaining_s(), end - time.monotonic())):
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
        write_results(start.outputs, flags.run, state.final_weights(), metrics, facts)
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
            checkpointer.settle(LOGS_S)
