"""Start one process for each rank on this machine, pass signals on, and end as the ranks end."""

import logging
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from spot.core.clock import Clock
from spot.core.errors import Exit
from spot.trainer.runtime.cluster import Cluster
from spot.trainer.runtime.signals import SIGNALS, StopSignal

POLL_S = 0.02

_log = logging.getLogger(__name__)


def count_gpus() -> int:
    """Return the number of GPUs of this machine, without a call to the driver."""
    return sum(path.name.removeprefix("nvidia").isdecimal() for path in Path("/dev").glob("nvidia*"))


def launch(ranks: int, cluster: Cluster | None, stop: StopSignal, clock: Clock) -> int:
    """Run this command again in `ranks` processes, and return the exit code.

    Once a rank failed, or after a signal, the ranks have the grace to leave.
    """
    received: list[int] = []
    signal.set_wakeup_fd(-1)  # the ranks have their own grace
    for number in SIGNALS:
        signal.signal(number, lambda number, _: received.append(number))
    if stop.requested:
        return stop.exit_code
    processes = _start(ranks, cluster)
    end, passed_on, codes = math.inf, False, list[int | None]()
    while None in (codes := [process.poll() for process in processes]):
        if received and not passed_on:
            passed_on = True
            for process in processes:
                process.send_signal(received[0])
        if end == math.inf and (received or any(codes)):
            end = clock.monotonic() + stop.grace_s
        if clock.monotonic() > end:
            _log.error(
                "a rank still ran %.1f s after %s: killed", stop.grace_s, "the signal" if received else "a failure"
            )
            for process in processes:
                process.kill()
                process.wait()
        clock.sleep(POLL_S)
    ended = [code for code in codes if code is not None]
    if any(ended):
        _log.warning("the ranks of this machine ended with exit codes %s", ", ".join(map(str, ended)))
    return exit_code(ended)


def exit_code(codes: Sequence[int]) -> int:
    """Return the exit code of ranks that ended with `codes`; minus the number after a signal.

    A rank that was killed, or aborted as NCCL's watchdog does, starts again.
    """
    stopped = {-number: 128 + number for number in SIGNALS}
    found = {stopped.get(code, code if 0 <= code != 128 + signal.SIGABRT else Exit.AGAIN) for code in codes}
    for first in (Exit.USAGE, Exit.AGAIN, Exit.FAILED):
        if first in found:
            return first
    return max(found)


def _start(ranks: int, cluster: Cluster | None) -> list[subprocess.Popen[bytes]]:
    listener = None if cluster else socket.create_server(("127.0.0.1", 0))
    node, nodes = (cluster.node, cluster.nodes) if cluster else (0, 1)
    host, port = (cluster.host, cluster.port) if cluster else listener.getsockname() if listener else ("", 0)
    processes = []
    for local in range(ranks):
        variables = {
            "RANK": node * ranks + local,
            "LOCAL_RANK": local,
            "WORLD_SIZE": nodes * ranks,
            "LOCAL_WORLD_SIZE": ranks,
            "GROUP_RANK": node,
            "MASTER_ADDR": host,
            "MASTER_PORT": port,
        }
        environ = os.environ | {name: str(value) for name, value in variables.items()}
        if listener:  # a port that is closed now might be used by another process until rank 0 listens
            listener.set_inheritable(local == 0)
        if listener and local == 0:
            environ["MASTER_FD"] = str(listener.fileno())
        environ.setdefault("OMP_NUM_THREADS", "1")  # the ranks share the CPUs, as under torchrun
        environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # warnings of each rank, which say nothing new
        command = [sys.executable, *sys.orig_argv[1:]]
        processes.append(subprocess.Popen(command, env=environ, close_fds=False))  # inherits what this process did
    if listener:
        listener.close()
    return processes
