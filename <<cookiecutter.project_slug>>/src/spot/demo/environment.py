"""What a rehearsal is played on: storage, Vertex AI and a clock, set up on this machine and taken down again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spot.core.errors import Exit, SpotError
from spot.core.format import hours
from spot.emulators.capacity import Scripted, Trace
from spot.emulators.clock import ScaledClock
from spot.emulators.job_lifecycle import Behaviour
from spot.emulators.jobs import Jobs
from spot.emulators.launcher import ContainerLauncher, TrainerLauncher
from spot.emulators.reaper import Reaper
from spot.emulators.storage_server import emulator
from spot.emulators.trainer_process import TrainerProcess
from spot.emulators.vertex_server import VertexServer
from spot.storage.factory import open_store
from spot.storage.records import manifest

BUCKET = "rehearsal"
ROOT = f"gs://{BUCKET}/digits"
PEACE = "uninterrupted"
WORK = timedelta(hours=2)
"""What the training takes by the clock of the rehearsal, however fast this machine is."""
PROVISIONING = timedelta(minutes=5)
CHECKPOINT_S = 0.5
GRACE_S = 10.0
ENVIRONMENT = {
    "NO_GCE_CHECK": "true",  # google-auth asks the metadata address otherwise
    "LEASE_SPEED": "30",  # two that hand over to each other wait for a second or two, not for a minute
    "OMP_NUM_THREADS": "1",  # PyTorch's threads wait busily, and share the cores with everything else here
}
LONGEST_S = 900.0
"""Longer than any rehearsal takes: something hangs."""


class RehearsalError(SpotError):
    """Report a rehearsal that did not reach its end."""

    exit_code = Exit.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What is rehearsed."""

    epochs: int
    seed: int
    data: Path | None
    """A file of this machine, in the place of the data that come with the project."""
    trace: Path | None
    """Capacity as it was measured, in the place of the story."""
    container: str | None
    """An image whose trainer runs, in the place of the one of this folder."""
    engine: str

    @property
    def training(self) -> tuple[str, ...]:
        """The trainer's flags."""
        return (
            *("--epochs", str(self.epochs)),
            *("--seed", str(self.seed)),
            *(("--data", str(self.data)) if self.data else ()),
            *("--checkpoint-interval", str(CHECKPOINT_S)),
            *("--log-interval", "0.05"),
            *("--device", "cpu"),  # the machine that is asked for has a GPU, this one need not
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that is there before the run begins."""

    play: Play
    tell: Callable[[str], None]
    clock: ScaledClock
    scale: float
    start: timedelta
    """What a start of the trainer takes by that clock, from submit to the first checkpoint."""
    total_steps: int
    capacity: Scripted | Trace
    launcher: TrainerLauncher | ContainerLauncher
    server: VertexServer
    will: Reaper


@contextmanager
def set_up(play: Play, tell: Callable[[str], None]) -> Iterator[Stage]:
    """Train in peace, which sets the clock, then raise the curtain. Raises `RehearsalError` and `TraceError`."""
    if play.trace:
        Trace(play.trace, datetime.now(UTC))  # so that one that cannot be used is refused now
    with ExitStack() as stack:
        storage = stack.enter_context(emulator(BUCKET))
        stack.enter_context(_environment({**ENVIRONMENT, "STORAGE_EMULATOR_HOST": storage}))
        will = stack.enter_context(Reaper())
        launcher = _launcher(play, will)
        tell(f"training {play.epochs} epochs without interruption, to compare with and to set the clock")
        ready_s, training_s = _train_in_peace(play, launcher)
        scale = WORK.total_seconds() / training_s
        clock = ScaledClock(scale, datetime.now(UTC))
        tell(f"that took {training_s:.1f} s and shall be {hours(WORK)}: an hour now passes in {3600 / scale:.1f} s")
        capacity = Trace(play.trace, clock.now()) if play.trace else Scripted()
        behaviour = Behaviour(pending=PROVISIONING, grace_s=GRACE_S)
        server = stack.enter_context(VertexServer(Jobs(capacity, launcher, clock, behaviour)))
        stack.enter_context(_environment({"VERTEX_ENDPOINT": server.url}))
        peaceful = manifest.newest(open_store(f"{ROOT}/checkpoints"), PEACE)
        yield Stage(
            play=play,
            tell=tell,
            clock=clock,
            scale=scale,
            start=PROVISIONING + timedelta(seconds=(ready_s + CHECKPOINT_S) * scale),
            total_steps=peaceful.total_steps if peaceful else 0,
            capacity=capacity,
            launcher=launcher,
            server=server,
            will=will,
        )


def _launcher(play: Play, will: Reaper) -> TrainerLauncher | ContainerLauncher:
    if play.container is None:
        return TrainerLauncher(os.environ, will)
    environ = {name: os.environ[name] for name in ("STORAGE_EMULATOR_HOST", *ENVIRONMENT)}
    return ContainerLauncher(play.container, environ, will, engine=play.engine)


def _train_in_peace(play: Play, launcher: TrainerLauncher | ContainerLauncher) -> tuple[float, float]:
    """Seconds from the start to the first step, and from there to the end."""
    places = ("--run", PEACE, "--output-dir", f"{ROOT}/models", "--checkpoint-dir", f"{ROOT}/checkpoints")
    spec = {"workerPoolSpecs": [{"containerSpec": {"args": [*places, *play.training]}}]}
    began = time.monotonic()
    started = launcher.start(spec, PEACE)
    process = started if isinstance(started, TrainerProcess) else started.client
    if process.wait(LONGEST_S) != 0:
        raise RehearsalError("the uninterrupted training failed:\n" + "\n".join(process.seen.lines[-20:]))
    ready_s = process.seen.training_since or 0.0
    return ready_s, max(time.monotonic() - began - ready_s, 1.0)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Of this process and of those that it starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
