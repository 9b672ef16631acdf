"""The supervisor of a rehearsal: the real one, as a process that can be killed, on a clock that runs faster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from spot.emulators.clock import ScaledClock
from spot.emulators.reaper import Reaper

EVERY = timedelta(minutes=5)
"""Between two passes."""
KILLED = -signal.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What the process is told: which run, and how its clock stands."""

    run: str
    root: str
    scale: float
    real: float
    """A moment, as seconds since the epoch, and"""
    simulated: float
    """what the clock showed then."""


class SupervisorProcess:
    """One supervisor, which makes a pass every few minutes of its clock until the run has ended."""

    def __init__(self, watch: Watch, hear: Callable[[dict[str, object]], None], will: Reaper) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "spot.demo.supervisor_process", json.dumps(asdict(watch))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        will.kill_group(self._process.pid, name=f"supervisor {self._process.pid}")
        self._hear = hear
        self.errors: list[str] = []
        self._readers = [threading.Thread(target=target, daemon=True) for target in (self._passes, self._complaints)]
        for reader in self._readers:
            reader.start()

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL: it cannot finish anything."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _passes(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._hear(json.loads(line))

    def _complaints(self) -> None:
        assert self._process.stderr is not None
        self.errors.extend(line.rstrip() for line in self._process.stderr)


def main(watch: Watch) -> int:
    """Pass after pass, each one line of JSON; 0 when the run has ended."""
    from spot.cli import values
    from spot.core.run import RunState
    from spot.demo.scaled_status import ScaledEvidence
    from spot.google.vertex import VertexJobs
    from spot.storage.factory import open_store
    from spot.storage.records.ledger import Ledger
    from spot.supervisor.reconcile import Supervisor
    from spot.supervisor.training_status import BucketEvidence  # noqa: F401  # what a pass needs is loaded before the first one

    epoch = datetime.fromtimestamp(watch.simulated + (time.time() - watch.real) * watch.scale, UTC)
    clock = ScaledClock(watch.scale, epoch)
    supervisor = Supervisor(
        ledger=Ledger(open_store(watch.root)),
        jobs=VertexJobs(),
        evidence=ScaledEvidence(clock, watch.scale),
        clock=clock.now,
        sleep=clock.sleep,
    )
    while True:
        passed = supervisor.reconcile_run(watch.run)
        print(json.dumps({"at": clock.now().isoformat(), **values.passed(passed)}), flush=True)
        if passed.run is None or passed.run.state is not RunState.OPEN:
            return 0
        clock.sleep(EVERY.total_seconds())


if __name__ == "__main__":
    # Warnings of libraries are for the log, and decisions are on standard output.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.exit(main(Watch(**json.loads(sys.argv[1]))))
