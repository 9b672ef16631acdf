"""Prepare and conclude one start of the trainer, from flags to exit code. Imports torch last."""

import importlib
import logging
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from spot.core.errors import Exit, SpotError
from spot.storage.base import Conflict, Damaged, NotFound, Store
from spot.storage.factory import open_store
from spot.storage.records import completion, markers
from spot.storage.records.lease import LeaseLost, process_name
from spot.storage.records.manifest import Json
from spot.trainer.context import Runtime, Saving, Start, Task
from spot.trainer.distributed.group import ALONE, Alone
from spot.trainer.results.write import check_writable
from spot.trainer.runtime.cluster import Place, read_cluster, read_place
from spot.trainer.runtime.errors import Completed, Launched, StartAgain, Stopped, UsageError
from spot.trainer.runtime.flags import Device, Flags, Parallel, parse, settled
from spot.trainer.runtime.launcher import count_gpus, launch
from spot.trainer.runtime.log import configure
from spot.trainer.runtime.signals import StopSignal, die_with
from spot.trainer.uploader.buffer import SharedBuffer

COMPLETED, STOPPED = "completed", "stopped"
ENDS = (COMPLETED, STOPPED)
"""The reasons that are no failures."""

_prepared: Start | None = None

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str], environ: Mapping[str, str], stop: StopSignal, task: Task, runtime: Runtime) -> int:
    """Return the exit code. Report a failure as one line on standard error and in the ended marker."""
    error = None
    try:
        start = prepare(arguments, environ, stop, task, runtime)
        loop = importlib.import_module(task.loop or "spot.trainer.loop")
        if not hasattr(loop, "main"):
            raise UsageError(f"{task.loop} has no main(): entry(loop=...) names a module with one")
        loop.main()
        if not start.done:
            raise UsageError(
                f"{task.loop}.main() trained nothing: use `with Session.from_environment() as session:` in it"
            )
    except (Exception, SystemExit, Completed, Launched, Stopped) as raised:
        if isinstance(raised, SystemExit) and _prepared is None:  # --help
            return Exit.DONE
        error = raised
    return conclude(_prepared, stop, error)


def prepared() -> Start:
    """Return the start that a session in this process continues. Raise `UsageError` without one."""
    if _prepared is None:
        raise UsageError("no training was started: call entry() of spot.trainer in task/__main__.py")
    return _prepared


def prepare(
    arguments: Sequence[str], environ: Mapping[str, str], stop: StopSignal, task: Task, runtime: Runtime
) -> Start:
    """Return a start that may train, on many ranks once all of them are here.

    Raise `Completed` if the run is complete, `Launched` if this process started the ranks, or `SpotError`.
    """
    global _prepared  # noqa: PLW0603  # a session is opened in the user's module, and no argument passes through it
    _prepared = None
    place, cluster = read_place(environ), read_cluster(environ)
    configure(place.rank if place else 0)
    if place:
        die_with(os.getppid())
    with stop.interruptible():
        config = importlib.import_module(task.config).Config if task.config else None  # its module imports no torch
        flags = parse(arguments, environ, config)
        stop.grace_s = flags.grace
        ranks = flags.ranks or (count_gpus() if flags.device is not Device.CPU else 0) or 1
        several = ranks > 1 or place is not None or cluster is not None
        if several and flags.parallel is Parallel.NONE:
            raise UsageError("--parallel none trains on one rank, and there are more: use --ranks 1, ddp or fsdp")
    if several and place is None and "RANK" not in environ:
        raise Launched(launch(ranks, cluster, stop, runtime.clock))
    with stop.interruptible():
        outputs, alone = _open(flags.output_dir), Alone(rank=place.rank) if place else ALONE
        _prepared = start = Start(task=task, flags=flags, outputs=outputs, stop=stop, runtime=runtime, group=alone)
        if complete := completion.find(start.outputs, flags.run):
            _check_settings(complete.config, flags)
            start.done = True
            raise Completed
        if place is None or place.rank == 0:
            check_writable(start.outputs, flags.run)
        start.saving = _announce(flags, runtime, place) if flags.enable_checkpointing else None
        # cuBLAS is deterministic only with this variable, which is read when torch loads.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if place:
            _join(start, place)
    return start


def conclude(start: Start | None, stop: StopSignal, error: BaseException | None) -> int:
    """Return the exit code of a start that ended with `error`, say why, and write the ended marker."""
    if isinstance(error, Launched):
        return error.code
    group = start.group if start else ALONE
    code, reason = group.settle(error, partial(_outcome, start, stop))
    if start and start.saving:
        start.saving.uploader.close()
        if group.rank == 0:
            _write_end(start, start.saving, code, reason)
        elif group.world > 1 and code == Exit.AGAIN:
            code = _code_of_rank_0(start, start.saving)
    # Once the ranks have met, rank 0 says it for all. Whom a rank lost is its own to say.
    if reason not in ENDS and (group.rank == 0 or group.world == 1 or reason.startswith(f"rank {group.rank} lost")):
        sys.stdout.flush()
        print(f"trainer: {reason}", file=sys.stderr, flush=True)
    return code


def _outcome(start: Start | None, stop: StopSignal, error: BaseException | None) -> tuple[int, str]:
    """Return the exit code of this process, and the reason."""
    code, reason = _cause(start, stop, error)
    if stop.received and reason not in ENDS and not isinstance(error, LeaseLost):
        # Processes of a machine that shuts down fail in any order: the cause is the preemption.
        return stop.exit_code, f"stopped, not saved: {reason}"
    return code, reason


def _cause(start: Start | None, stop: StopSignal, error: BaseException | None) -> tuple[int, str]:
    match error:
        case None:
            return Exit.DONE, COMPLETED
        case Completed():
            if start:
                _log.info("run %s is complete: %s/%s", start.flags.run, start.outputs.uri, start.flags.run)
            return Exit.DONE, COMPLETED
        case Stopped() | SystemExit() if start and start.done:
            return Exit.DONE, COMPLETED
        case Stopped():
            return stop.exit_code, STOPPED
        case NotFound() | Conflict() | Damaged():  # the bucket's content is wrong, not the flags
            code = Exit.FAILED
        case SpotError():
            code = error.exit_code
        case _:
            _log.error("unexpected", exc_info=error)
            code = Exit.FAILED
    return int(code), " ".join(str(error).split()) or type(error).__name__


def _code_of_rank_0(start: Start, saving: Saving) -> int:
    """Return the exit code in the ended marker, which rank 0 writes before it ends."""
    flags = start.flags
    try:
        code = markers.starts(saving.store, flags.run, flags.attempt).exit_code
    except SpotError:
        code = None
    return Exit.AGAIN if code is None else code  # it was killed, or has not ended


def _check_settings(complete: Mapping[str, Json], flags: Flags) -> None:
    """Refuse other settings than those of a complete run: they would not be trained."""
    for name, now in settled(flags, flags.precision).items():
        if name in complete.keys() - {"precision"} and complete[name] != now:
            raise UsageError(
                f"run {flags.run} is complete with --{name} {complete[name]}: to train with --{name} {now}, use another"
                " --run"
            )


def _open(uri: str) -> Store:
    try:
        return open_store(uri)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _join(start: Start, place: Place) -> None:
    """Wait for the other ranks, and take the number of this start from rank 0."""
    from spot.trainer.distributed.join import join

    flags = start.flags
    start.group = join(place, flags.device, start.runtime.peers)
    own = [flags.run, flags.attempt]
    *first, number = start.group.broadcast([*own, start.saving.start if start.saving else 0])
    if first != own:
        raise StartAgain(f"rank {place.rank} is of run {own[0]} attempt {own[1]}, rank 0 of run {first[0]} {first[1]}")
    if start.saving:
        start.saving = replace(start.saving, start=number, name=process_name(flags.attempt, number))


def _announce(flags: Flags, runtime: Runtime, place: Place | None) -> Saving:
    """Start the uploader, and write the started marker, which also proves write permission."""
    store = _open(flags.checkpoint_dir)
    facts = {"time": runtime.clock.now().isoformat(), "nonce": secrets.token_hex(8)}
    buffer = SharedBuffer()
    uploader = runtime.uploader(store.uri, buffer.fd, flags.keep)
    try:  # last: a signal after the marker finds everything that writes the ended marker
        number = 1 if place and place.rank else markers.claim_start(store, flags.run, flags.attempt, facts)
    except BaseException:
        uploader.close()
        raise
    name = process_name(flags.attempt, number)
    return Saving(store=store, buffer=buffer, uploader=uploader, start=number, name=name)


def _write_end(start: Start, saving: Saving, code: int, reason: str) -> None:
    """Write the ended marker. Without it this start counts as killed, so a failure is only logged."""
    facts = {"time": start.runtime.clock.now().isoformat(), "exit_code": int(code), "reason": reason}
    try:
        markers.write_end(saving.store, start.flags.run, start.flags.attempt, saving.start, facts)
    except SpotError as error:
        _log.warning("the ended marker was not written: %s", error)
