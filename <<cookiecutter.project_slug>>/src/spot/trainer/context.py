"""Hold the state of one start of the trainer. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass, field

from spot.core.clock import Clock, SystemClock
from spot.storage.base import Store
from spot.trainer.distributed.group import ALONE, Group, PeerTiming
from spot.trainer.runtime.flags import Flags
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.messages import LeaseTiming
from spot.trainer.uploader.process import Uploader, UploaderProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Name the user's modules: model and data for the default loop, or a loop of the user's own."""

    config: str | None = None
    model: str | None = None
    data: str | None = None
    loop: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Hold what a start takes from its surroundings. A rehearsal passes a virtual clock."""

    clock: Clock = field(default_factory=SystemClock)
    timing: LeaseTiming = field(default_factory=LeaseTiming)
    peers: PeerTiming = field(default_factory=PeerTiming)
    uploader: Callable[[str, int, int], Uploader] = UploaderProcess
    """Starts the uploader for the URI of a store, the descriptor of the buffer, and the checkpoints to keep."""
    on_step: Callable[[int, int], None] = lambda step, total: None  # noqa: ARG005
    """Called after each optimizer step with its number and the total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Hold what checkpoints need before torch is loaded."""

    store: Store
    buffer: SharedBuffer
    uploader: Uploader
    start: int
    """Counts the starts of this attempt, from 1."""
    name: str
    """The name of this process in the lease."""


@dataclass(slots=True, kw_only=True)
class Start:
    """Hold flags and stores of this start of the process."""

    task: Task
    flags: Flags
    outputs: Store
    stop: StopSignal
    runtime: Runtime = field(default_factory=Runtime)
    group: Group = ALONE
    saving: Saving | None = None
    done: bool = False
    """Whether the run is complete."""
