"""Start storage, Vertex AI and a scaled clock on this machine, and stop them afterwards."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from spot.core.errors import Exit, SpotError
from spot.core.format import hours
from spot.emulators.capacity import ScriptedCapacity, TraceCapacity
from spot.emulators.clock import ScaledClock
from spot.emulators.job_lifecycle import Behaviour
from spot.emulators.jobs import JobTable
from spot.emulators.launcher import TrainerLauncher
from spot.emulators.reaper import Reaper
from spot.emulators.storage_server import emulator
from spot.emulators.vertex_server import VertexServer
from spot.storage.factory import open_store
from spot.storage.records import manifest

BUCKET = "rehearsal"
ROOT = f"gs://{BUCKET}/project"
BASELINE = "baseline"
WORK = timedelta(hours=2)
"""The simulated duration of the training, whatever the speed of this machine."""
PROVISIONING = timedelta(minutes=5)
CHECKPOINT_S = 0.5
GRACE_S = 10.0
ENVIRONMENT = {
    "NO_GCE_CHECK": "true",  # otherwise google-auth queries the metadata address
    "LEASE_SPEED": "30",  # a hand-over takes a second or two instead of a minute
    "OMP_NUM_THREADS": "1",  # PyTorch's threads busy-wait on the cores that all processes here share
}
LONGEST_S = 900.0
"""No rehearsal takes this long: a process hangs."""


class RehearsalError(SpotError):
    """Report a rehearsal that did not reach its end."""

    exit_code = Exit.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Hold the options of the command line."""

    epochs: int
    seed: int
    data: Path | None
    """A local file instead of the sample of the project."""
    trace: Path | None
    """Measured capacity instead of the scenario."""

    @property
    def training(self) -> tuple[str, ...]:
        """Return the arguments of the trainer."""
        return (
            *("--epochs", str(self.epochs)),
            *("--seed", str(self.seed)),
            *(("--data", str(self.data)) if self.data else ()),
            *("--checkpoint-interval", str(CHECKPOINT_S)),
            *("--log-interval", "0.05"),
            *("--device", "cpu"),  # the run requests a GPU that this machine may not have
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Hold what exists before the run is submitted."""

    options: Options
    log: Callable[[str], None]
    clock: ScaledClock
    scale: float
    start: timedelta
    """The simulated time from the submit of an attempt to its first checkpoint."""
    total_steps: int
    capacity: ScriptedCapacity | TraceCapacity
    launcher: TrainerLauncher
    server: VertexServer
    reaper: Reaper


@contextmanager
def set_up(
    options: Options,
    log: Callable[[str], None],
    launcher_for: Callable[[Reaper], TrainerLauncher] = TrainerLauncher,
) -> Iterator[Environment]:
    """Train the baseline, set the clock by it, and start the emulators. Raise `RehearsalError` or `TraceError`."""
    if options.trace:
        TraceCapacity(options.trace, datetime.now(UTC))  # fail on an invalid trace before the training
    with ExitStack() as stack:
        storage = stack.enter_context(emulator(BUCKET))
        stack.enter_context(patch.dict(os.environ, ENVIRONMENT, STORAGE_EMULATOR_HOST=storage))
        reaper = stack.enter_context(Reaper())
        launcher = launcher_for(reaper)
        log(f"baseline: training {options.epochs} epochs without interruption")
        started_s, trained_s, total_steps = _train_baseline(options, launcher)
        scale = WORK.total_seconds() / trained_s
        clock = ScaledClock(scale, datetime.now(UTC))
        log(f"baseline: trained in {trained_s:.1f} s, scaled to {hours(WORK)}: 1 h passes in {3600 / scale:.1f} s")
        capacity = TraceCapacity(options.trace, clock.now()) if options.trace else ScriptedCapacity()
        behaviour = Behaviour(pending=PROVISIONING, grace_s=GRACE_S)
        server = stack.enter_context(VertexServer(JobTable(capacity, launcher, clock, behaviour)))
        stack.enter_context(patch.dict(os.environ, VERTEX_ENDPOINT=server.url))
        yield Environment(
            options=options,
            log=log,
            clock=clock,
            scale=scale,
            start=PROVISIONING + timedelta(seconds=(started_s + CHECKPOINT_S) * scale),
            total_steps=total_steps,
            capacity=capacity,
            launcher=launcher,
            server=server,
            reaper=reaper,
        )


def _train_baseline(options: Options, launcher: TrainerLauncher) -> tuple[float, float, int]:
    """Return the seconds of start and end, the seconds of training, and the number of steps."""
    uris = ("--run", BASELINE, "--output-dir", f"{ROOT}/models", "--checkpoint-dir", f"{ROOT}/checkpoints")
    spec = {"workerPoolSpecs": [{"containerSpec": {"args": [*uris, *options.training]}}]}
    began = time.monotonic()
    process = launcher.start(spec, BASELINE)
    code = process.wait(LONGEST_S)
    took_s = time.monotonic() - began
    newest = manifest.newest(open_store(f"{ROOT}/checkpoints"), BASELINE)
    if code != 0 or newest is None:
        ended = f"exited with {code}" if code is not None else f"still runs after {LONGEST_S:.0f} s"
        raise RehearsalError("\n".join([f"the baseline training {ended}; its last lines:", *process.lines[-20:]]))
    trained_s = min(max(newest.compute_seconds, 1.0), took_s)
    return took_s - trained_s, trained_s, newest.total_steps
