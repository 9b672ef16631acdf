"""Take checkpoints from the training loop: decide when one is due, take the snapshot, follow its upload.

A snapshot costs the loop one copy of the state into shared memory. The uploader does the rest, one save at a time.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from spot.core.clock import Clock, SystemClock
from spot.storage.paths import Commit
from spot.storage.records.lease import LeaseLost, process_name
from spot.storage.records.manifest import Json
from spot.trainer.checkpoint.identity import Identity
from spot.trainer.checkpoint.interval import History, automatic_interval_s, worth_withdrawing
from spot.trainer.checkpoint.serialize import StagingWriter
from spot.trainer.runtime.errors import StartAgain, TrainingError, UsageError
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.uploader import messages
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.messages import (
    Declined,
    Durable,
    Failed,
    Fault,
    HandOverRequested,
    Lost,
    Mirror,
    Mirrored,
    OfferLease,
    Released,
    Save,
    Withdraw,
)
from spot.trainer.uploader.process import Uploader
from spot.trainer.uploader.timing import LeaseTiming

DEATHS_IN_A_ROW = 3
REFUSED_SAVES, REFUSED_S = 5, 600.0
"""After so many saves, or seconds, without a save that the store accepted, this start ends."""
RETRY_S = 2.0
"""The pause before a failed last save is repeated: the store refuses at once."""
STOP_POLL_S = 0.2
"""The longest delay until a stop is noticed during the pause of a hand-over."""

_log = logging.getLogger(__name__)


class Saveable(Protocol):
    """Define what can be saved."""

    @property
    def step(self) -> int: ...

    def capture(self) -> tuple[dict[str, Tensor], bytes]:
        """Return every tensor, and the rest as JSON: all that an exact resume needs."""

    def describe(self) -> dict[str, Json]:
        """Return the progress fields of the manifest, for the supervisor."""


@dataclass(slots=True)
class _InFlight:
    save: int
    step: int
    size: int


class CheckpointManager:
    """Take snapshots and send them to the uploader. With `interval_s` None, choose the interval from measurements.

    `token` is the fencing token of the lease. Every method that polls the uploader raises `LeaseLost` once another
    process holds the lease.
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
        history: History,
        restored: Commit | None,
        clock: Clock | None = None,
    ) -> None:
        self._uploader = uploader
        self._staging = StagingWriter(buffer)
        self._fixed_interval_s = interval_s
        self._clock = clock or SystemClock()
        self._identity = identity
        self._history = history
        self._in_flight: _InFlight | None = None
        self._mirroring = False
        self._next_mirror: Mirror | None = None
        self._failing = False
        self._refused_at: list[float] = []
        self.saved = False
        """Whether a save of this start has succeeded."""
        self._successor: str | None = None
        self._offered_to: str | None = None
        self._saves = 0
        self._deaths = 0
        self._last_save = self._clock.monotonic()
        self.stall_s: float | None = None
        self.saving_s = 0.0
        self.durable_s = 0.0
        self.durable_step = restored.step if restored else None
        self._token = token
        self._restored = restored
        self._hold = timing.hold(identity.run, process_name(identity.attempt, identity.start))
        self._send(self._hold)

    @property
    def interval_s(self) -> float:
        if self._fixed_interval_s is not None:
            return self._fixed_interval_s
        return automatic_interval_s(cost_s=self.stall_s, durable_s=self.durable_s, history=self._history)

    @property
    def busy(self) -> bool:
        """Return whether a save is in flight; the next save waits for it."""
        return self._in_flight is not None

    @property
    def wanted(self) -> bool:
        """Return whether a standby requests the lease, and the last save did not fail."""
        return self._successor is not None and not self._failing

    def due(self) -> bool:
        return not self.busy and self._clock.monotonic() - self._last_save >= self.interval_s

    def save(self, state: Saveable, *, prune: bool = True, took_s: float = 0.0) -> None:
        """Take a snapshot and pass it to the uploader. No save may be in flight.

        `took_s` is what the snapshot has cost the loop already. A step is committed once: its states before and after
        the evaluation lead to the same result.
        """
        if self._in_flight:
            raise RuntimeError("a save is in flight")
        if state.step == self.durable_step:
            return
        began = self._clock.monotonic()
        tensors, rest = state.capture()
        size = self._staging.write(tensors, rest)
        self._last_save = self._clock.monotonic()
        self.stall_s = self._last_save - began + took_s
        self.saving_s += self.stall_s
        self._saves += 1
        self._in_flight = _InFlight(self._saves, state.step, size)
        draft = self._identity.draft(self._token, self._restored, self.saving_s, self._clock.now())
        draft["save_seconds"] = round(self.durable_s, 3)
        self._send(Save(save=self._saves, size=size, manifest={**draft, **state.describe()}, prune=prune))

    def poll(self, timeout_s: float = 0.0) -> None:
        """Handle the uploader's events, waiting up to `timeout_s` for the first.

        Raise `UsageError`, `StartAgain` or `TrainingError` when no save can succeed any more, and `LeaseLost`.
        """
        try:
            for message in self._uploader.receive(timeout_s):
                self._handle_message(message)
        except EOFError:
            self._revive()

    def final_save(self, state: Saveable, remaining_s: Callable[[], float]) -> bool:
        """Save this state within the time left, and return whether it is durable. Training is stopped."""
        self.poll()
        old = self._in_flight
        if old and old.step != state.step and worth_withdrawing(fresh_s=self.durable_s, remaining_s=remaining_s()):
            self._send(Withdraw(save=old.save))
        while self.durable_step != state.step and remaining_s() > 0:
            if not self._in_flight:
                if self._failing:
                    self.poll(min(remaining_s(), RETRY_S))
                self.save(state, prune=False)
            self.poll(min(max(remaining_s(), 0.0), 1.0))
        return self.durable_step == state.step

    def hand_over(self, state: Saveable, stop: StopSignal) -> None:
        """Save this state, offer the lease, and pause training until the answer.

        Raise `LeaseLost` when the standby accepts. Return when it declines, and on a stop, after which the offer
        stands. Return as well when a save fails, so that an outage does not pause training: the next save that
        succeeds starts the hand-over again.
        """
        began, before = self._clock.monotonic(), self.saving_s
        if self.final_save(state, lambda: stop.remaining_s() if self.wanted else 0.0) and self._successor:
            _log.info("step %d: hand-over, offering the lease to %s", state.step, self._successor)
            self._offered_to = self._successor
            self._send(OfferLease(successor=self._offered_to))
            while self._offered_to and not stop.requested:
                self.poll(STOP_POLL_S)
        self.saving_s = before + self._clock.monotonic() - began

    def mirror(self, path: str, directory: str, name: str) -> None:
        """Copy a log file to the store in the background, after the current copy."""
        self._next_mirror = Mirror(path=path, directory=directory, name=name)
        if not self._mirroring:
            self._mirror()

    def _mirror(self) -> None:
        order, self._next_mirror = self._next_mirror, None
        self._mirroring = order is not None
        if order:
            self._send(order)

    def settle(self, timeout_s: float) -> None:
        """Wait for the save and the copy in flight."""
        end = self._clock.monotonic() + timeout_s
        while (self._in_flight or self._mirroring) and self._clock.monotonic() < end:
            self.poll(end - self._clock.monotonic())

    def _handle_message(self, message: messages.Message) -> None:
        flight = self._in_flight
        mine = flight is not None and getattr(message, "save", None) == flight.save
        match message:
            case Durable():
                self._deaths, self._failing, self._refused_at, self.saved = 0, False, [], True
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
                    self._in_flight, self._failing = None, True
                self._on_failure(message)
            case Released():
                if mine:
                    self._in_flight = None
            case Mirrored():
                self._mirror()
            case HandOverRequested():
                self._successor = message.successor
            case Declined():
                _log.info("%s did not accept the lease, training continues", self._offered_to)
                self._offered_to = self._successor = None
            case Lost():
                if message.holder == self._offered_to:
                    raise LeaseLost(f"handed over to {message.holder} at step {self.durable_step}")
                raise LeaseLost(f"process {message.holder} holds the lease of run {self._identity.run}")

    def _on_failure(self, failed: Failed) -> None:
        text = f"step {failed.step}: checkpoint not saved: {failed.reason}"
        if failed.fault == Fault.BUG:
            raise TrainingError(text)
        if failed.fault == Fault.DENIED:  # a permission or a bucket may be missing for moments only
            self._refused_at.append(self._clock.monotonic())
            lasted = self._refused_at[-1] - self._refused_at[0]
            if len(self._refused_at) >= REFUSED_SAVES or lasted >= REFUSED_S:
                refused = f"{text}; refused {len(self._refused_at)} times in {lasted:.0f} s"
                raise StartAgain(refused) if self.saved else UsageError(refused)
        _log.warning("%s; step %s is durable, next save in %.3g s", text, self.durable_step, self.interval_s)

    def _send(self, message: messages.Command) -> None:
        try:
            self._uploader.send(message)
        except EOFError:
            self._revive()

    def _revive(self) -> None:
        """Restart a dead uploader. Its upload in flight is lost."""
        self._deaths += 1
        code = self._uploader.restart()
        if self._deaths >= DEATHS_IN_A_ROW:
            raise StartAgain(
                f"the uploader died {self._deaths} times without a checkpoint, last with exit code {code}: check memory"
            )
        _log.warning("the uploader died with exit code %d: restarted, step %s is durable", code, self.durable_step)
        self._in_flight, self._mirroring = None, False
        self._send(self._hold)
        if self._offered_to:
            self._send(OfferLease(successor=self._offered_to))
