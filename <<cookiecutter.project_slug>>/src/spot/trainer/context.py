"""What is known of one start of the trainer, before torch is loaded and after."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from spot.storage.base import Store
from spot.trainer.runtime.flags import Flags
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.process import UploaderProcess
from spot.trainer.uploader.timing import LeaseTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The names of the modules that hold the user's model and data."""

    model: str
    data: str


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
    pace: LeaseTiming


@dataclass(slots=True)
class Start:
    """What is known of this start of the process."""

    task: Task
    flags: Flags
    outputs: Store
    saving: Saving | None = None
    began: float = field(default_factory=time.monotonic)
    step: int | None = None
    durable_step: int | None = None
    done: bool = False
