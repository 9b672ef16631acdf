"""Hold the state of one start of the trainer. Imports no torch."""

import time
from dataclasses import dataclass, field

from spot.storage.base import Store
from spot.trainer.runtime.flags import Flags
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.process import UploaderProcess
from spot.trainer.uploader.timing import LeaseTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Name the modules that hold the user's model and data."""

    model: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Hold what checkpoints need before torch is loaded."""

    store: Store
    buffer: SharedBuffer
    uploader: UploaderProcess
    start: int
    """Counts the starts of this attempt, from 1."""
    name: str
    """The name of this process in the lease."""
    timing: LeaseTiming


@dataclass(slots=True)
class Start:
    """Hold flags, stores and progress of this start of the process."""

    task: Task
    flags: Flags
    outputs: Store
    saving: Saving | None = None
    began: float = field(default_factory=time.monotonic)
    step: int | None = None
    durable_step: int | None = None
    done: bool = False
