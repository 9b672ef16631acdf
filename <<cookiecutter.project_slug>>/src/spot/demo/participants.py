"""Run trainers and supervisor of a rehearsal, each in a process forked from one that has imported everything."""

import os
import signal
import socket
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from multiprocessing import parent_process
from typing import NoReturn

from spot.config.settings import GateSettings
from spot.core.run import RunState
from spot.demo.rank import paced, run_task
from spot.demo.virtual_clock import DIRECTOR_GONE, VirtualClock
from spot.google.vertex import VertexJobs
from spot.promotion import settle
from spot.storage.factory import open_store
from spot.storage.records.ledger import Ledger
from spot.supervisor.reconcile import Supervisor
from spot.supervisor.training_status import BucketStatus
from spot.trainer.start import set_runtime

RECONCILE_INTERVAL = timedelta(minutes=5)


def train(
    end: socket.socket, log: str, arguments: Sequence[str], environ: Mapping[str, str], task: str, work: timedelta
) -> NoReturn:
    """Run the real trainer. Its steps take equal shares of `work` in virtual time."""
    _become(log, environ)
    set_runtime(paced(VirtualClock(end), work))
    run_task(task, arguments)


def supervise(
    end: socket.socket, log: str, environ: Mapping[str, str], run: str, root: str, gate: GateSettings | None
) -> None:
    """Reconcile the run at every interval until it ends."""
    _become(log, environ)
    clock = VirtualClock(end)
    ledger, models = Ledger(open_store(root)), open_store(f"{root}/models")
    supervisor = Supervisor(
        ledger=ledger,
        jobs=VertexJobs(),
        status=BucketStatus(root),
        clock=clock,
        settle=lambda found, now: settle.settle(ledger.store, models, found.id, gate, now) if gate else None,
    )
    while True:
        [result] = supervisor.reconcile([run])
        if result.problem:
            print(result.problem, flush=True)
        if result.run is None or result.run.state is not RunState.OPEN:
            return
        clock.sleep(RECONCILE_INTERVAL.total_seconds())


def _become(log: str, environ: Mapping[str, str]) -> None:
    """Leave the process group of the rehearsal, end with its director, and write to the log."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_the_director, daemon=True).start()
    os.environ.clear()
    os.environ.update(environ)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    for output in (1, 2):
        os.dup2(descriptor, output)
    os.close(descriptor)


def _end_with_the_director() -> None:
    """End also a process that works, or has no clock, once the director is gone."""
    director = parent_process()
    assert director
    director.join()
    os._exit(DIRECTOR_GONE)
