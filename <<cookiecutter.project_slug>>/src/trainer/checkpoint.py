"""Checkpointing as the training loop sees it: when one is due, taking the snapshot, and what became of it.

A snapshot costs the loop one copy of the state into shared memory. The uploader does the rest, one save at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from torch import Tensor

from bucket.manifest import DataObject, Json
from trainer import channel
from trainer.buffer import SharedBuffer
from trainer.channel import Durable, Failed, Fault, Mirror, Mirrored, Released, Save, Withdraw
from trainer.errors import TrainingError, UsageError
from trainer.image import Image
from trainer.interval import History, automatic_interval_s, worth_withdrawing
from trainer.uploader_process import UploaderProcess

DEATHS_IN_A_ROW = 3

_log = logging.getLogger(__name__)


class Saveable(Protocol):
    """What is saved."""

    @property
    def step(self) -> int: ...

    def capture(self) -> tuple[dict[str, Tensor], bytes]:
        """Every tensor, and the rest as JSON: all that training needs to go on exactly here."""

    def describe(self) -> dict[str, Json]:
        """The manifest's fields that tell a supervisor where training stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose checkpoints these are, and of what."""

    run: str
    attempt: str
    start: int
    config: dict[str, Json]
    data: tuple[DataObject, ...]


@dataclass(slots=True)
class _InFlight:
    save: int
    step: int
    size: int


class Checkpointer:
    """Takes the snapshots and gives the uploader its orders. `interval_s` None: chosen from measurements."""

    def __init__(
        self,
        *,
        uploader: UploaderProcess,
        buffer: SharedBuffer,
        identity: Identity,
        interval_s: float | None,
        history: History,
        restored_step: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uploader = uploader
        self._image = Image(buffer)
        self._fixed_interval_s = interval_s
        self._clock = clock
        self._identity = identity
        self._history = history
        self._in_flight: _InFlight | None = None
        self._mirroring = False
        self._next_mirror: Mirror | None = None
        self._saves = 0
        self._deaths = 0
        self._last_save = clock()
        self.stall_s: float | None = None
        self.durable_s = 0.0
        self.durable_step = restored_step

    @property
    def interval_s(self) -> float:
        if self._fixed_interval_s is not None:
            return self._fixed_interval_s
        return automatic_interval_s(cost_s=self.stall_s, durable_s=self.durable_s, history=self._history)

    @property
    def busy(self) -> bool:
        """A save is in flight; another one has to wait."""
        return self._in_flight is not None

    def due(self) -> bool:
        return not self.busy and self._clock() - self._last_save >= self.interval_s

    def save(self, state: Saveable, *, prune: bool = True) -> None:
        """Take a snapshot and let the uploader have it. None may be in flight.

        A step is committed once: its states before and after the evaluation go on to the same end.
        """
        if self._in_flight:
            raise RuntimeError("a save is in flight")
        if state.step == self.durable_step:
            return
        began = self._clock()
        tensors, rest = state.capture()
        size = self._image.write(tensors, rest)
        self._last_save = self._clock()
        self.stall_s = self._last_save - began
        self._saves += 1
        self._in_flight = _InFlight(self._saves, state.step, size)
        self._send(Save(save=self._saves, size=size, manifest=self._manifest(state), prune=prune))

    def poll(self, timeout_s: float = 0.0) -> None:
        """Hear the uploader out, waiting at most so long for its first word.

        Raises `UsageError` or `TrainingError` when saving cannot succeed any more.
        """
        try:
            for message in self._uploader.receive(timeout_s):
                self._hear(message)
        except EOFError:
            self._revive()

    def save_at_last(self, state: Saveable, remaining_s: Callable[[], float]) -> bool:
        """Make this very state durable, in the time that remains; whether it is. Training has stopped."""
        self.poll()
        old = self._in_flight
        if old and old.step != state.step and worth_withdrawing(fresh_s=self.durable_s, remaining_s=remaining_s()):
            self._send(Withdraw(save=old.save))
        while self.durable_step != state.step and remaining_s() > 0:
            if not self._in_flight:
                self.save(state, prune=False)
            self.poll(min(max(remaining_s(), 0.0), 1.0))
        return self.durable_step == state.step

    def mirror(self, path: str, directory: str, name: str) -> None:
        """Copy a log file to the store in the background, after the copy that is under way."""
        self._next_mirror = Mirror(path=path, directory=directory, name=name)
        if not self._mirroring:
            self._mirror()

    def _mirror(self) -> None:
        order, self._next_mirror = self._next_mirror, None
        self._mirroring = order is not None
        if order:
            self._send(order)

    def settle(self, timeout_s: float) -> None:
        """Wait for what is under way."""
        end = self._clock() + timeout_s
        while (self._in_flight or self._mirroring) and self._clock() < end:
            self.poll(end - self._clock())

    def _hear(self, message: channel.Message) -> None:
        flight = self._in_flight
        mine = flight is not None and getattr(message, "save", None) == flight.save
        match message:
            case Durable():
                self._deaths = 0
                self.durable_step = max(self.durable_step or 0, message.step)
                if flight and mine:
                    self.durable_s = message.seconds
                    self._in_flight = None
                    _log.info(
                        "step %d: checkpoint durable, %.1f MB in %.2f s, stall %.1f ms, next in %.3g s",
                        message.step,
                        flight.size / 1e6,
                        message.seconds,
                        1e3 * (self.stall_s or 0),
                        self.interval_s,
                    )
            case Failed():
                if mine:
                    self._in_flight = None
                self._judge(message)
            case Released():
                if mine:
                    self._in_flight = None
            case Mirrored():
                self._mirror()

    def _judge(self, failed: Failed) -> None:
        text = f"step {failed.step}: checkpoint not saved: {failed.reason}"
        match failed.fault:
            case Fault.PASSING:
                _log.warning("%s; step %s is durable, trying again in %.3g s", text, self.durable_step, self.interval_s)
            case Fault.DENIED:
                raise UsageError(text)
            case Fault.SECOND_WRITER | Fault.BUG:
                raise TrainingError(text)

    def _manifest(self, state: Saveable) -> dict[str, Json]:
        identity = self._identity
        return {
            "format": 1,
            "run": identity.run,
            "attempt": identity.attempt,
            "start": identity.start,
            "config": identity.config,
            "data": [
                {"uri": item.uri, "size": item.size, "crc32c": item.crc32c, "generation": item.generation}
                for item in identity.data
            ],
            "parts": [],
            "time": datetime.now(UTC).isoformat(),
            **state.describe(),
        }

    def _send(self, message: Save | Withdraw | Mirror) -> None:
        try:
            self._uploader.send(message)
        except EOFError:
            self._revive()

    def _revive(self) -> None:
        """The uploader died (out of memory, a person's `kill`): start another one. What it did is lost."""
        self._deaths += 1
        code = self._uploader.restart()
        if self._deaths >= DEATHS_IN_A_ROW:
            raise TrainingError(f"the uploader died {self._deaths} times without a checkpoint, last with {code}")
        _log.warning("the uploader died (%d): started another, step %s is durable", code, self.durable_step)
        self._in_flight, self._mirroring = None, False
