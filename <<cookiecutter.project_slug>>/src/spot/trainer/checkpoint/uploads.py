"""Follow the uploader: its saves, one at a time, its copies of logs, its failures, and what it says about the lease."""

import logging
from collections.abc import Callable

from spot.core.clock import Clock
from spot.storage.records.lease import LeaseLost
from spot.trainer.runtime.errors import StartAgain, TrainingError, UsageError
from spot.trainer.uploader import messages
from spot.trainer.uploader.messages import (
    Declined,
    Durable,
    Failed,
    Fault,
    HandOverRequested,
    KeepLease,
    Lost,
    Mirror,
    Mirrored,
    OfferLease,
    Released,
    Save,
    Withdraw,
)
from spot.trainer.uploader.process import Uploader

DEATHS_IN_A_ROW = 3
REFUSED_SAVES, REFUSED_S = 5, 600.0
"""After so many saves, or seconds, without a save that the store accepted, this start ends."""

_log = logging.getLogger(__name__)


class Uploads:
    """Send commands to the uploader, and know what came of them. With `lease` None, another rank keeps the lease.

    Every method that polls the uploader raises `LeaseLost` once another process holds the lease.
    """

    def __init__(
        self,
        uploader: Uploader,
        run: str,
        lease: KeepLease | None,
        durable_step: int | None,
        interval_s: Callable[[], float],
        clock: Clock,
    ) -> None:
        self._uploader, self._run, self._lease = uploader, run, lease
        self._interval_s, self._clock = interval_s, clock
        self.in_flight: Save | None = None
        self._stall_s = 0.0
        self.durable_step = durable_step
        self.durable_s = 0.0
        self.failing = False
        """Whether the last save that ended failed."""
        self.lost = False
        """Whether the newest save cannot become durable."""
        self.saved = False
        """Whether a save of this start has succeeded."""
        self.successor: str | None = None
        """The standby that requests the lease."""
        self.offered_to: str | None = None
        self._copies = 0
        self._refused_at: list[float] = []
        self._deaths = 0
        self._keep_lease()

    def save(self, order: Save, stall_s: float) -> None:
        self.in_flight, self.lost, self._stall_s = order, False, stall_s
        self._send(order)

    def withdraw(self) -> None:
        """Stop the save in flight; `Released` follows."""
        if self.in_flight:
            self._send(Withdraw(save=self.in_flight.save))

    def offer_lease(self) -> None:
        if self.successor:
            self.offered_to = self.successor
            self._send(OfferLease(successor=self.offered_to))

    def mirror(self, path: str, directory: str, name: str) -> None:
        """Copy a log file to the store in the background."""
        self._copies += 1
        self._send(Mirror(path=path, directory=directory, name=name))

    def settle(self, timeout_s: float) -> None:
        """Wait for the save and the copies in flight."""
        end = self._clock.monotonic() + timeout_s
        while (self.in_flight or self._copies) and self._clock.monotonic() < end:
            self.poll(end - self._clock.monotonic())

    def poll(self, timeout_s: float = 0.0) -> None:
        """Handle the uploader's events, waiting up to `timeout_s` for the first.

        Raise `UsageError`, `StartAgain` or `TrainingError` when no save can succeed any more, and `LeaseLost`.
        """
        try:
            for message in self._uploader.receive(timeout_s):
                self._handle_message(message)
        except EOFError:
            self._revive()

    def _handle_message(self, message: messages.Event) -> None:
        flight = self.in_flight
        mine = flight is not None and getattr(message, "save", None) == flight.save
        match message:
            case Durable():
                self._deaths, self.failing, self._refused_at, self.saved = 0, False, [], True
                self.durable_step = max(self.durable_step or 0, message.step)
                if flight and mine:
                    self.durable_s = message.seconds
                    self.in_flight = None
                    _log.info(
                        "step %d: checkpoint durable, %.1f MB in %.2f s, stall %.1f ms, next in %.3g s",
                        message.step,
                        flight.size / 1e6,
                        message.seconds,
                        1e3 * self._stall_s,
                        self._interval_s(),
                    )
            case Failed():
                if mine:
                    self.in_flight, self.failing, self.lost = None, True, True
                self._on_failure(message)
            case Released():
                if mine:
                    self.in_flight = None
            case Mirrored():
                self._copies -= 1
            case HandOverRequested():
                self.successor = message.successor
            case Declined():
                _log.info("%s did not accept the lease, training continues", self.offered_to)
                self.offered_to = self.successor = None
            case Lost():
                if message.holder == self.offered_to:
                    raise LeaseLost(f"handed over to {message.holder} at step {self.durable_step}")
                raise LeaseLost(f"process {message.holder} holds the lease of run {self._run}")

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
        _log.warning("%s; durable step: %s, next save in %.3g s", text, self.durable_step, self._interval_s())

    def _keep_lease(self) -> None:
        if self._lease:
            self._send(self._lease)

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
        _log.warning("the uploader died with exit code %d: restarted, durable step: %s", code, self.durable_step)
        self.lost |= self.in_flight is not None
        self.in_flight, self._copies = None, 0
        self._keep_lease()
        if self.offered_to:
            self._send(OfferLease(successor=self.offered_to))
