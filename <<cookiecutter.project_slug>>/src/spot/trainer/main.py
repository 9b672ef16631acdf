"""Run one start of the trainer, from flags to exit code."""

import logging
import os
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence

from spot.core.errors import Exit, SpotError
from spot.storage.base import Conflict, Damaged, NotFound, Store
from spot.storage.factory import open_store
from spot.storage.records import completion, markers
from spot.storage.records.lease import LeaseLost, process_name
from spot.storage.records.manifest import Json
from spot.trainer.context import Runtime, Saving, Start, Task
from spot.trainer.results import check_writable
from spot.trainer.runtime.errors import Stopped, UsageError
from spot.trainer.runtime.flags import Flags, parse
from spot.trainer.runtime.log import configure
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.uploader.buffer import SharedBuffer

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str], environ: Mapping[str, str], stop: StopSignal, task: Task, runtime: Runtime) -> int:
    """Return the exit code. Report a failure as one line on standard error and in the ended marker."""
    configure()
    start: Start | None = None
    reason, replaced = "completed", False
    try:
        flags = parse(arguments, environ)
        stop.grace_s = flags.grace
        with stop.interruptible():
            start = Start(task=task, flags=flags, outputs=_open(flags.output_dir), runtime=runtime)
            if completion.is_complete(start.outputs, flags.run):
                _log.info("run %s is complete: %s/%s", flags.run, start.outputs.uri, flags.run)
                return Exit.DONE
            check_writable(start.outputs, flags.run)
            start.saving = _announce(flags, runtime) if flags.enable_checkpointing else None
            # cuBLAS is deterministic only with this variable, which is read when torch loads.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            from spot.trainer.training import run_training  # after the checks above: torch takes two seconds to load

        run_training(start, stop)
        code = int(Exit.DONE)
    except Stopped:
        code = int(Exit.DONE) if start and start.done else stop.exit_code
        reason = "completed" if code == Exit.DONE else "stopped"
    except (NotFound, Conflict, Damaged) as error:  # the bucket's content is wrong, not the flags
        code, reason = _say(error, Exit.FAILED)
    except SpotError as error:
        code, reason = _say(error, error.exit_code)
        replaced = isinstance(error, LeaseLost)
    except Exception as error:
        _log.exception("unexpected")
        code, reason = _say(error, Exit.FAILED)
    if stop.requested and code != Exit.DONE and reason != "stopped" and not replaced:
        # Processes of a machine that shuts down fail in any order: the cause is the preemption.
        code, reason = stop.exit_code, f"stopped, not saved: {reason}"
    if start and start.saving:
        start.saving.uploader.close()
        _conclude(start, start.saving, code, reason)
    return code


def _open(uri: str) -> Store:
    try:
        return open_store(uri)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _announce(flags: Flags, runtime: Runtime) -> Saving:
    """Write the started marker, which also proves write permission, and start the uploader."""
    store = _open(flags.checkpoint_dir)
    facts = {
        "time": runtime.clock.now().isoformat(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "nonce": secrets.token_hex(8),
        "standby": flags.standby,
    }
    number = markers.claim_start(store, flags.run, flags.attempt, facts)
    buffer = SharedBuffer()
    uploader = runtime.uploader(store.uri, buffer.fd, flags.keep)
    name = process_name(flags.attempt, number)
    return Saving(store=store, buffer=buffer, uploader=uploader, start=number, name=name)


def _conclude(start: Start, saving: Saving, code: int, reason: str) -> None:
    """Write the ended marker. Without it this start counts as killed, so a failure is only logged."""
    clock = start.runtime.clock
    facts: dict[str, Json] = {
        "time": clock.now().isoformat(),
        "exit_code": code,
        "reason": reason,
        "step": start.step,
        "durable_step": start.durable_step,
        "seconds": round(clock.monotonic() - start.began, 3),
    }
    try:
        markers.write_end(saving.store, start.flags.run, start.flags.attempt, saving.start, facts)
    except SpotError as error:
        _log.warning("the ended marker was not written: %s", error)


def _say(error: Exception, code: Exit) -> tuple[int, str]:
    line = " ".join(str(error).split()) or type(error).__name__
    sys.stdout.flush()
    print(f"trainer: {line}", file=sys.stderr, flush=True)
    return int(code), line
