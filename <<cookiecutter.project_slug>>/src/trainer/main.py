"""One start of the trainer, from flags to exit code."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bucket import markers
from bucket.lease import Relieved, name_of
from bucket.manifest import Json, NewerFormat
from bucket.store import Denied, Store, StoreError, Unavailable, open_store
from trainer.buffer import SharedBuffer
from trainer.errors import Exit, StartAgain, Stopped, TrainingError, UsageError
from trainer.flags import Flags, parse
from trainer.log import configure
from trainer.output import check_writable, read_completion
from trainer.pace import Pace
from trainer.stop import Stop
from trainer.uploader_process import UploaderProcess

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What checkpoints need, at hand before torch is."""

    store: Store
    buffer: SharedBuffer
    uploader: UploaderProcess
    start: int
    """Which start of this attempt we are, from 1."""
    name: str
    """What we are called in the writer's lease."""
    pace: Pace


@dataclass(slots=True)
class Start:
    """What is known of this start of the process."""

    flags: Flags
    outputs: Store
    saving: Saving | None = None
    began: float = field(default_factory=time.monotonic)
    step: int | None = None
    durable_step: int | None = None
    done: bool = False


def main(arguments: Sequence[str], environ: Mapping[str, str], stop: Stop) -> int:
    """Run to an exit code. Whatever goes wrong is one line on standard error and in the ended marker."""
    configure()
    start: Start | None = None
    reason, relieved = "completed", False
    try:
        flags = parse(arguments, environ)
        stop.grace_s = flags.grace
        with stop.interruptible():
            start = Start(flags=flags, outputs=_open(flags.output_dir))
            if read_completion(start.outputs, flags.run):
                _log.info("run %s is complete: %s/%s", flags.run, start.outputs.uri, flags.run)
                return Exit.DONE
            check_writable(start.outputs, flags.run)
            start.saving = _announce(flags, Pace.of(environ)) if flags.enable_checkpointing else None
            # A GPU computes the same again only with this; it is read when torch is loaded.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            from trainer.job import run_job  # two seconds of torch that no refusal above should cost

        run_job(start, stop)
        code = int(Exit.DONE)
    except Stopped:
        code = int(Exit.DONE) if start and start.done else stop.exit_code
        reason = "completed" if code == Exit.DONE else "stopped"
    except (UsageError, Denied, NewerFormat) as error:
        code, reason = _say(error, Exit.USAGE)
    except Relieved as error:
        code, reason = _say(error, Exit.AGAIN)
        relieved = True
    except (StartAgain, Unavailable) as error:
        code, reason = _say(error, Exit.AGAIN)
    except (TrainingError, StoreError) as error:
        code, reason = _say(error, Exit.ERROR)
    except Exception as error:
        _log.exception("unexpected")
        code, reason = _say(error, Exit.ERROR)
    if stop.requested and code != Exit.DONE and reason != "stopped" and not relieved:
        # The machine is going away, and what is on it fails in any order: the fault is not the training's.
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


def _announce(flags: Flags, pace: Pace) -> Saving:
    """Write the started marker, which also proves that checkpoints can be written, and start the uploader."""
    store = _open(flags.checkpoint_dir)
    facts = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "nonce": secrets.token_hex(8),
        "standby": flags.standby,
    }
    number = markers.claim_start(store, flags.run, flags.attempt, facts)
    buffer = SharedBuffer()
    uploader = UploaderProcess(store.uri, buffer.fd, flags.keep)
    name = name_of(flags.attempt, number)
    return Saving(store=store, buffer=buffer, uploader=uploader, start=number, name=name, pace=pace)


def _conclude(start: Start, saving: Saving, code: int, reason: str) -> None:
    """Write the ended marker; without it this start will pass for killed, so it is worth a try, not a failure."""
    facts: dict[str, Json] = {
        "exit_code": code,
        "reason": reason,
        "step": start.step,
        "durable_step": start.durable_step,
        "seconds": round(time.monotonic() - start.began, 3),
    }
    try:
        markers.write_end(saving.store, start.flags.run, start.flags.attempt, saving.start, facts)
    except StoreError as error:
        _log.warning("the end of this start is not marked: %s", error)


def _say(error: Exception, code: Exit) -> tuple[int, str]:
    line = " ".join(str(error).split()) or type(error).__name__
    sys.stdout.flush()
    print(f"trainer: {line}", file=sys.stderr, flush=True)
    return int(code), line
