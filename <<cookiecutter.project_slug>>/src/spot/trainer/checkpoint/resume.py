"""Claim the lease, restore the newest good checkpoint, and prepare the next checkpoint."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from spot.storage.base import Damaged
from spot.storage.paths import Commit
from spot.storage.records import lease, manifest, markers
from spot.storage.records.manifest import DataObject, Manifest
from spot.trainer.checkpoint import restore
from spot.trainer.checkpoint.boxes import is_sharded
from spot.trainer.checkpoint.interval import mean_time_between_preemptions_s
from spot.trainer.checkpoint.manager import CheckpointManager, Identity
from spot.trainer.checkpoint.restore import Restored
from spot.trainer.checkpoint.standby import Standby, stand_by
from spot.trainer.context import Saving, Start
from spot.trainer.device import Compute
from spot.trainer.distributed.generators import seed_rank
from spot.trainer.runtime.errors import Completed, StartAgain, UsageError
from spot.trainer.runtime.flags import Resume, settled
from spot.trainer.state import TrainingState
from spot.trainer.uploader.messages import KeepLease

_log = logging.getLogger(__name__)


def resume(
    start: Start, saving: Saving, state: TrainingState, compute: Compute, objects: tuple[DataObject, ...]
) -> CheckpointManager:
    """Claim the lease and restore the newest good checkpoint, if any.

    Raise `LeaseLost`, or `Completed` if another attempt completed the run while this standby waited.
    """
    flags, store, runtime = start.flags, saving.store, start.runtime
    identity = Identity(
        run=flags.run,
        attempt=flags.attempt,
        start=saving.start,
        config=settled(flags, compute.precision),
        data=objects,
    )
    if flags.standby:
        standby = Standby(store, flags.run, saving.name, runtime.timing, replaces=flags.standby, clock=runtime.clock)
        token, restored = _take_over(start, saving, state, identity, standby)
    else:
        # Claim first: commits of the previous holder after this point are fenced off.
        token = start.group.broadcast(None if start.group.rank else _claim(start, saving))
        restored = _restore(start, saving, state, identity)
    return CheckpointManager(
        uploader=saving.uploader,
        buffer=saving.buffer,
        identity=identity,
        token=token,
        timing=runtime.timing,
        interval_s=flags.checkpoint_interval,
        mean_time_between_preemptions_s=mean_time_between_preemptions_s(
            preemptions=markers.count_starts(store, flags.run) - 1, compute_s=state.compute_seconds
        ),
        restored=_resumed_from(restored, flags.run),
        clock=runtime.clock,
        group=start.group,
    )


def _claim(start: Start, saving: Saving) -> int:
    held = lease.claim(saving.store, start.flags.run, saving.name)
    _look_after_lease(start, saving)
    if start.flags.resume is Resume.NEVER:
        restore.quarantine_all(saving.store, start.flags.run)
    return held.token


def _take_over(
    start: Start, saving: Saving, state: TrainingState, identity: Identity, standby: Standby
) -> tuple[int, Manifest | None]:
    """Restore, wait for the lease as a standby, and restore what was committed meanwhile."""
    run, store, group = identity.run, saving.store, start.group
    restored = _restore(start, saving, state, identity)
    _log.info("step %d: standby, waiting for the lease", state.step)
    token = stand_by(standby, start.outputs, group)
    if token is None:
        start.done = True
        raise Completed
    _look_after_lease(start, saving)
    _log.info("step %d: hand-over complete, lease acquired", state.step)
    newest = None if group.rank else next(iter(manifest.commits(store, run)), None)
    if group.broadcast(newest != (restored.commit if restored and restored.run == run else None)):
        again = _restore(start, saving, state, identity)
        if restored and not again:
            raise StartAgain(f"all checkpoints of run {run} were deleted after step {restored.step} was restored")
        restored = again
    return token, restored


def _look_after_lease(start: Start, saving: Saving) -> None:
    """Start heartbeats now: a restore may take longer than a holder may be silent."""
    if start.group.rank:
        return
    with contextlib.suppress(EOFError):  # the checkpoint manager restarts a dead uploader and repeats the command
        saving.uploader.send(KeepLease(run=start.flags.run, name=saving.name, timing=start.runtime.timing))


def _restore(start: Start, saving: Saving, state: TrainingState, identity: Identity) -> Manifest | None:
    clock = start.runtime.clock
    began = clock.monotonic()
    parent = start.flags.from_run
    runs = (identity.run, parent) if parent else (identity.run,)
    for run in runs:  # the parent's checkpoints count until this run has its own
        found = restore.newest_good(
            saving.store,
            run,
            saving.buffer,
            lambda manifest: _accept(manifest, identity),
            partial(_load, state),
            like=_sharded(state),
            group=start.group,
        )
        if found:
            break
    if found is None and parent:
        raise UsageError(f"--from-run {parent}: it has no checkpoint in {saving.store.uri}, nor has run {identity.run}")
    if found is None:
        _log.info("step 0 of %d: run %s starts, no checkpoint found", state.total_steps, identity.run)
        return None
    state.compute_seconds = found.manifest.compute_seconds
    state.evaluation_seconds = found.manifest.evaluation_seconds
    state.longest_evaluation_seconds = found.manifest.longest_evaluation_seconds
    _log.info(
        "step %d of %d: resumed from the checkpoint of run %s attempt %s start %d, %.1f MB in %.2f s",
        state.step,
        state.total_steps,
        found.manifest.run,
        found.manifest.attempt,
        found.manifest.start,
        found.manifest.size / 1e6,
        clock.monotonic() - began,
    )
    if (world := found.manifest.world) != start.group.world:
        seed_rank(start.flags.seed, state.step, start.group.rank)
        _log.info("step %d: %d ranks instead of %d: other random numbers", state.step, start.group.world, world)
    return found.manifest


def _sharded(state: TrainingState) -> Callable[[str], Tensor | None]:
    """Return a function from the name of a saved tensor to the sharded tensor that it is restored for, if any."""
    found: dict[str, Any] = {}
    for owner, tracked in [*state.tracked.items(), ("best_weights", state.shipped_module)]:
        if isinstance(tracked, nn.Module):
            values = tracked.state_dict()
            found |= {f"{owner}.{name}": value for name, value in values.items()}
        elif isinstance(tracked, Optimizer):
            parameters = chain.from_iterable(group["params"] for group in tracked.param_groups)
            found |= {f"{owner}.state.{index}": parameter for index, parameter in enumerate(parameters)}
    found = {name: value for name, value in found.items() if is_sharded(value)}
    return lambda name: found.get(name, found.get(name.rpartition(".")[0]))


def _resumed_from(restored: Manifest | None, run: str) -> Commit | None:
    """Return the commit that new manifests name. A fencing token of another run has no meaning in this run."""
    if restored is None:
        return None
    return restored.commit if restored.run == run else replace(restored.commit, token=0)


def _load(state: TrainingState, found: Restored) -> None:
    state.restore(found.tensors, found.rest, found.own, found.manifest.world)
    if state.step != found.manifest.step:
        raise Damaged(f"the checkpoint of step {found.manifest.step} holds the state of step {state.step}")


def _accept(found: Manifest, own: Identity) -> None:
    """Refuse to resume with settings or data that differ from the checkpoint's."""
    for name in own.config | found.config:
        before, now = found.config.get(name), own.config.get(name)
        if before != now:
            raise UsageError(
                f"run {own.run} started with --{name} {before} and has reached step {found.step}; it cannot resume"
                f" with --{name} {now}: use the same value, or another --run"
            )
    for pinned, read in zip(found.data, own.data, strict=False):
        if (pinned.size, pinned.crc32c) != (read.size, read.crc32c):
            raise UsageError(
                f"run {own.run} started on {_pin(pinned)}; it cannot resume on {_pin(read)}: restore the data, or"
                " use another --run"
            )
    if len(found.data) != len(own.data):
        raise UsageError(
            f"run {own.run} started on {len(found.data)} data objects and cannot resume on {len(own.data)}: restore"
            " the data, or use another --run"
        )


def _pin(item: DataObject) -> str:
    generation = f" generation {item.generation}" if item.generation else ""
    return f"{item.uri}{generation} ({item.size} bytes, CRC32C {item.crc32c:08x})"
