"""Take checkpoints from the training loop: decide when one is due, take the snapshot, and wait for the last.

A snapshot costs the loop one copy of the state into shared memory. The uploader does the rest, one save at a time.
All ranks save at the same steps. In a pause rank 0 decides, and the other ranks follow its orders.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from torch import Tensor

from spot.core.clock import Clock, SystemClock
from spot.storage.paths import Commit
from spot.storage.records.lease import process_name
from spot.storage.records.manifest import DataObject, Json, Manifest
from spot.trainer.checkpoint.interval import automatic_interval_s
from spot.trainer.checkpoint.serialize import StagingWriter
from spot.trainer.checkpoint.uploads import Uploads
from spot.trainer.distributed.group import ALONE, Group
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.messages import KeepLease, LeaseTiming, Save
from spot.trainer.uploader.process import Uploader

RETRY_S = 2.0
"""The pause before a failed last save is repeated: the store refuses at once."""
STOP_POLL_S = 0.2
"""The longest delay until a stop is noticed during the pause of a hand-over."""

_log = logging.getLogger(__name__)


class Saveable(Protocol):
    """Define what can be saved."""

    @property
    def step(self) -> int: ...

    @property
    def buffers(self) -> frozenset[str]:
        """Return the names of tensors that may differ between ranks, of which those of rank 0 count."""

    def capture(self) -> tuple[dict[str, Tensor], bytes]:
        """Return every tensor, and the rest as JSON: all that an exact resume needs."""

    def describe(self) -> dict[str, Json]:
        """Return the progress fields of the manifest, for the supervisor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Hold the manifest fields that all checkpoints of one start share."""

    run: str
    attempt: str
    start: int
    config: dict[str, Json]
    data: tuple[DataObject, ...]


class _Order(StrEnum):
    SAVE = "save"
    WAIT = "wait"
    END = "end"


class CheckpointManager:
    """Take snapshots and send them to the uploader. With `interval_s` None, choose the interval from measurements.

    `token` is the fencing token of the lease. Every method that polls the uploader raises `LeaseLost` once another
    process holds the lease. All ranks call `save`, `final_save` and `hand_over` at the same steps.
    """

    def __init__(
        self,
        *,
        uploader: Uploader,
        buffer: SharedBuffer,
        identity: Identity,
        token: int,
        timing: LeaseTiming,
        interval_s: float | None,
        mean_time_between_preemptions_s: float,
        restored: Commit | None,
        clock: Clock | None = None,
        group: Group = ALONE,
    ) -> None:
        self._group = group
        self._staging = StagingWriter(buffer, group.rank, group.world)
        self._fixed_interval_s = interval_s
        self._clock = clock or SystemClock()
        self._identity = identity
        self._mean_time_between_preemptions_s = mean_time_between_preemptions_s
        self._saves = 0
        self._last_save = self._clock.monotonic()
        self.stall_s: float | None = None
        self.saving_s = 0.0
        self._token = token
        self._restored = restored
        name = process_name(identity.attempt, identity.start)
        self._uploads = Uploads(
            uploader,
            identity.run,
            None if group.rank else KeepLease(run=identity.run, name=name, timing=timing),
            restored.step if restored else None,
            lambda: self.interval_s,
            self._clock,
        )
        self.poll, self.mirror, self.settle = self._uploads.poll, self._uploads.mirror, self._uploads.settle

    @property
    def interval_s(self) -> float:
        if self._fixed_interval_s is not None:
            return self._fixed_interval_s
        return automatic_interval_s(
            cost_s=self.stall_s,
            durable_s=self._uploads.durable_s,
            mean_time_between_preemptions_s=self._mean_time_between_preemptions_s,
        )

    @property
    def durable_step(self) -> int | None:
        return self._uploads.durable_step

    @property
    def saved(self) -> bool:
        """Return whether a save of this start has succeeded."""
        return self._uploads.saved

    @property
    def busy(self) -> bool:
        """Return whether a save is in flight; the next save waits for it."""
        return self._uploads.in_flight is not None

    @property
    def failed(self) -> bool:
        """Return whether the newest save cannot become durable."""
        return self._uploads.lost

    @property
    def wanted(self) -> bool:
        """Return whether a standby requests the lease, and the last save did not fail."""
        return self._uploads.successor is not None and not self._uploads.failing

    def due(self) -> bool:
        """Return whether rank 0 asks for a save."""
        return not (self._group.rank or self.busy) and self._clock.monotonic() - self._last_save >= self.interval_s

    def save(self, state: Saveable, *, prune: bool = True, took_s: float = 0.0) -> None:
        """Take a snapshot and pass it to the uploader. No save of rank 0 may be in flight.

        `took_s` is what the snapshot has cost the loop already. A step is committed once: its states before and after
        the evaluation lead to the same result.
        """
        if self.busy and not self._group.rank:
            raise RuntimeError("a save is in flight")
        if self._group.broadcast(state.step == self.durable_step):
            return
        while self.busy:  # on another rank: rank 0 has withdrawn that save, or knows of its end before this rank
            self._uploads.withdraw()
            self.poll(1.0)
        began = self._clock.monotonic()
        tensors, rest = state.capture()
        size = self._staging.write(tensors, rest, state.buffers if self._group.world > 1 else ())
        self._last_save = self._clock.monotonic()
        self.stall_s = self._last_save - began + took_s
        self.saving_s += self.stall_s
        self._saves += 1
        draft = Manifest(
            run=self._identity.run,
            attempt=self._identity.attempt,
            start=self._identity.start,
            token=self._token,
            from_step=self._restored.step if self._restored else 0,
            from_token=self._restored.token if self._restored else 0,
            saving_seconds=round(self.saving_s, 3),
            save_seconds=round(self._uploads.durable_s, 3),
            interval_seconds=round(self.interval_s, 3),
            config=self._identity.config,
            data=self._identity.data,
            shards=(),
            time=self._clock.now(),
            **state.describe(),
        )
        order = Save(
            save=self._saves,
            size=size,
            manifest=draft,
            prune=prune,
            rank=self._group.rank,
            world=self._group.world,
        )
        self._uploads.save(order, self.stall_s)

    def peer_failed(self) -> None:
        """Withdraw the save in flight, because another rank could not upload its part of it."""
        if self.busy:
            _log.warning("another rank could not save, the save is withdrawn; durable step: %s", self.durable_step)
            self._uploads.failing = True
            self._uploads.withdraw()

    def final_save(self, state: Saveable, remaining_s: Callable[[], float]) -> bool:
        """Save this state within the time left, and return whether it is durable. Training is stopped."""
        if self._group.rank:
            self._follow(state)
        else:
            self._save_durably(state, remaining_s)
            self._tell(_Order.END)
        return bool(self._group.broadcast(self.durable_step == state.step))

    def hand_over(self, state: Saveable, stop: StopSignal) -> None:
        """Save this state, offer the lease, and pause training until the answer.

        Raise `LeaseLost` when the standby accepts. Return when it declines, and on a stop, after which the offer
        stands. Return as well when a save fails, so that an outage does not pause training: the next save that
        succeeds starts the hand-over again.
        """
        began, before = self._clock.monotonic(), self.saving_s
        if self._group.rank:
            self._follow(state, stop)
        else:
            self._save_durably(state, lambda: stop.remaining_s() if self.wanted else 0.0, stop)
            if self.durable_step == state.step and self._uploads.successor:
                _log.info("step %d: hand-over, offering the lease to %s", state.step, self._uploads.successor)
                self._uploads.offer_lease()
                while self._uploads.offered_to and not self._tell(_Order.WAIT, stop):
                    self.poll(STOP_POLL_S)
            self._tell(_Order.END)
        self.saving_s = before + self._clock.monotonic() - began

    def _save_durably(self, state: Saveable, remaining_s: Callable[[], float], stop: StopSignal | None = None) -> None:
        """Save until the state is durable, no time is left, or a rank has received a signal."""
        self.poll()
        old = self._uploads.in_flight
        # If there is no time for a fresh save, that in flight has a head start and is more likely to finish.
        if old and old.manifest.step != state.step and self._uploads.durable_s <= remaining_s():
            self._uploads.withdraw()
        stopping = False
        while self.durable_step != state.step and remaining_s() > 0 and not stopping:
            if not self.busy:
                if self._uploads.failing:
                    self.poll(min(remaining_s(), RETRY_S))
                self._tell(_Order.SAVE)
                self.save(state, prune=False)
            stopping = self._tell(_Order.WAIT, stop)
            self.poll(min(max(remaining_s(), 0.0), 1.0))

    def _follow(self, state: Saveable, stop: StopSignal | None = None) -> None:
        """Follow the orders of rank 0."""
        while (order := self._exchange(None, stop)[0][0]) != _Order.END:
            if order == _Order.SAVE:
                self.save(state, prune=False)
            self.poll()

    def _tell(self, order: _Order, stop: StopSignal | None = None) -> bool:
        """Give an order to the other ranks, and return whether a rank has received a signal."""
        answers = self._exchange(order, stop)
        if any(failed for _, _, failed in answers):
            self.peer_failed()
        return any(received for _, received, _ in answers)

    def _exchange(self, order: _Order | None, stop: StopSignal | None) -> list[tuple[str | None, bool, bool]]:
        return self._group.gather((order, stop is not None and stop.received, self.failed))
