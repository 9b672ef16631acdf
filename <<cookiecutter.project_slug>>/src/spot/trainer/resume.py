"""From a fresh state to where training goes on: the writer's lease, the newest good checkpoint, and more to come."""

from __future__ import annotations

import contextlib
import logging
import time

from spot.storage.base import Store
from spot.storage.records import lease, manifest, markers
from spot.storage.records.lease import Lease
from spot.storage.records.manifest import DataObject, Json, Manifest
from spot.trainer.checkpoint import restore
from spot.trainer.checkpoint.identity import Identity
from spot.trainer.checkpoint.interval import History
from spot.trainer.checkpoint.manager import CheckpointManager
from spot.trainer.checkpoint.standby import Standby, stand_by
from spot.trainer.context import Saving, Start
from spot.trainer.loop import Compute
from spot.trainer.runtime.errors import StartAgain, UsageError
from spot.trainer.runtime.flags import Flags, Precision, Resume
from spot.trainer.state import TrainingState
from spot.trainer.uploader.buffer import SharedBuffer

_log = logging.getLogger(__name__)


def resume(
    start: Start, saving: Saving, state: TrainingState, compute: Compute, objects: tuple[DataObject, ...]
) -> CheckpointManager | None:
    """Restore the newest good checkpoint, if any, and be ready for the next. Raises `LeaseLost`.

    None if the run was completed by another attempt while this one stood by.
    """
    flags, store = start.flags, saving.store
    identity = Identity(
        run=flags.run, attempt=flags.attempt, start=saving.start, config=_config(flags, compute), data=objects
    )
    if flags.standby:
        standby = Standby(store, flags.run, saving.name, saving.timing, replaces=flags.standby)
        held, restored = _take_over(start, saving, state, identity, standby)
        if held is None:
            return None
    else:
        # The lease first: whoever had it before commits nothing beyond what is found now that would count.
        held = lease.claim(store, flags.run, saving.name)
        _look_after_lease(saving, flags.run)
        if flags.resume is Resume.NEVER:
            restore.quarantine_all(store, flags.run)
        restored = _restore(store, state, saving.buffer, identity)
    start.durable_step = restored.step if restored else None
    return CheckpointManager(
        uploader=saving.uploader,
        buffer=saving.buffer,
        identity=identity,
        token=held.token,
        timing=saving.timing,
        interval_s=flags.checkpoint_interval,
        history=History(preemptions=markers.count_starts(store, flags.run) - 1, compute_seconds=state.compute_seconds),
        restored=restored.commit if restored else None,
    )


def _take_over(
    start: Start, saving: Saving, state: TrainingState, identity: Identity, standby: Standby
) -> tuple[Lease | None, Manifest | None]:
    """Get ready, wait for the lease, and restore what was saved meanwhile."""
    run, store = identity.run, saving.store
    restored = _restore(store, state, saving.buffer, identity)
    _log.info("standing by at step %d", state.step)
    held = stand_by(standby, start.outputs, saving.timing)
    if held is None:
        _log.info("run %s is complete: %s/%s", run, start.outputs.uri, run)
        return None, None
    _look_after_lease(saving, run)
    _log.info("the lease of run %s is ours", run)
    newest = next(iter(manifest.commits(store, run)), None)
    if newest != (restored.commit if restored else None):
        again = _restore(store, state, saving.buffer, identity)
        if restored and not again:
            raise StartAgain(f"the checkpoints of run {run} are gone since step {restored.step} was restored")
        restored = again
    return held, restored


def _look_after_lease(saving: Saving, run: str) -> None:
    """Give signs of life from here on: a restore may take longer than a holder without any passes for alive."""
    with contextlib.suppress(EOFError):  # it died: the checkpointer gives the order again, and replaces it if need be
        saving.uploader.send(saving.timing.hold(run, saving.name))


def _restore(store: Store, state: TrainingState, buffer: SharedBuffer, identity: Identity) -> Manifest | None:
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
    return found.manifest


def _config(flags: Flags, compute: Compute) -> dict[str, Json]:
    """What the result depends on, by flag."""
    return {
        "epochs": flags.epochs,
        "max-steps": flags.max_steps,
        "batch-size": flags.batch_size,
        "accumulate": flags.accumulate,
        "learning-rate": flags.learning_rate,
        "patience": flags.patience,
        "seed": flags.seed,
        "precision": (Precision.MIXED if compute.mixed else Precision.FULL).value,
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
