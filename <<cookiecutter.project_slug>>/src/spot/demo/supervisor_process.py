"""Run the real supervisor as a process that can be killed, on a scaled clock."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from spot.emulators.clock import ScaledClock
from spot.emulators.reaper import Reaper

RECONCILE_INTERVAL = timedelta(minutes=5)
KILLED = -signal.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorOptions:
    """Name the run and set the clock of the process: simulated seconds are `offset` + `scale` x real seconds."""

    run: str
    root: str
    scale: float
    offset: float


class SupervisorProcess:
    """Reconcile the run at every interval of the clock until it ends. `on_line` receives the decisions."""

    def __init__(self, options: SupervisorOptions, on_line: Callable[[str], None], reaper: Reaper) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spot.demo.supervisor_process", json.dumps(asdict(options))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        reaper.add(self.process.pid)
        self.errors: list[str] = []
        for lines, receive in ((self.process.stdout, on_line), (self.process.stderr, self.errors.append)):
            threading.Thread(target=_forward, args=(lines, receive), daemon=True).start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def _forward(lines: Iterable[str], receive: Callable[[str], None]) -> None:
    for line in lines:
        receive(line.rstrip())


def main(options: SupervisorOptions) -> int:
    """Reconcile until the run has ended, and print a line for each decision and problem."""
    from spot.core.run import RunState
    from spot.demo.scaled_status import ScaledStatus
    from spot.google.vertex import VertexJobs
    from spot.storage.factory import open_store
    from spot.storage.records.ledger import Ledger
    from spot.supervisor.reconcile import Supervisor

    clock = ScaledClock(options.scale, datetime.fromtimestamp(options.offset + options.scale * time.time(), UTC))
    supervisor = Supervisor(
        ledger=Ledger(open_store(options.root)),
        jobs=VertexJobs(),
        status=ScaledStatus(clock, options.scale),
        clock=clock,
    )
    while True:
        result = supervisor.reconcile_run(options.run)
        for decision in result.actions:
            print(f"{decision.action}: {decision.reason}", flush=True)
        if result.problem:
            print(f"supervisor: {result.problem}", flush=True)
        if result.run is None or result.run.state is not RunState.OPEN:
            return 0
        clock.sleep(RECONCILE_INTERVAL.total_seconds())


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.exit(main(SupervisorOptions(**json.loads(sys.argv[1]))))
