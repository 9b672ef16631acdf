"""Run a machine of a rehearsal, and its ranks: `python -m spot.demo.rank DESCRIPTOR SECONDS TASK FLAG...`.

Ranks exchange values in real time. The virtual clock is rank 0's, at the other end of the descriptor: while rank 0
waits, the others wait for it.
"""

import os
import runpy
import socket
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

from spot.demo.paced_uploader import PacedUploader
from spot.demo.virtual_clock import VirtualClock
from spot.trainer.context import Runtime
from spot.trainer.distributed.group import PeerTiming
from spot.trainer.start import set_runtime
from spot.trainer.uploader.process import Uploader

LOADING = timedelta(minutes=1)
"""From the start of the trainer's process to its restore."""
LEADS, FOLLOWS = (PeerTiming(vote_s=seconds, collective_s=seconds) for seconds in (30.0, 150.0))
"""Of rank 0, which waits for the other processes of the rehearsal, and of the ranks that wait for it meanwhile."""


def paced(clock: VirtualClock, work: timedelta) -> Runtime:
    """Return a runtime in which the steps take equal shares of `work` in virtual time."""

    def on_step(step: int, total: int) -> None:
        clock.status |= {"step": step, "total": total}
        clock.wait(clock.monotonic() + work.total_seconds() / total)  # a signal ends the step at once

    def uploader(store_uri: str, buffer_fd: int, keep: int) -> Uploader:
        clock.sleep(LOADING.total_seconds())  # the real trainer loads torch just after this
        return PacedUploader(clock, store_uri, buffer_fd, keep)

    return Runtime(clock=clock, uploader=uploader, on_step=on_step, peers=LEADS)


def run_task(task: str, arguments: Sequence[str]) -> NoReturn:
    """Run the package of the task as `python -m` does."""
    sys.argv = [task, *arguments]
    runpy.run_module(task, run_name="__main__")
    raise AssertionError("entry() ends the process")


def main(descriptor: str, work_s: str, task: str, *flags: str) -> NoReturn:
    leads = os.environ.get("RANK") == "0"
    clock = VirtualClock(socket.socket(fileno=int(descriptor))) if leads else None
    set_runtime(paced(clock, timedelta(seconds=float(work_s))) if clock else Runtime(peers=FOLLOWS))
    run_task(task, flags)


if __name__ == "__main__":
    main(*sys.argv[1:])
