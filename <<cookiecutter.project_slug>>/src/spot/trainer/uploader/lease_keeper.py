"""Keep the lease on behalf of its holder: watch it, send heartbeats, offer it to a standby.

Runs in the uploader, so that training never waits for it. docs/checkpoints.md explains the protocol.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from spot.core.clock import Clock, SystemClock
from spot.core.errors import SpotError
from spot.storage.base import NewerFormat, Store
from spot.storage.records import lease
from spot.storage.records.lease import Found
from spot.trainer.uploader.messages import Declined, HandOverRequested, KeepLease, Lost

Event = HandOverRequested | Declined | Lost

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    successor: str
    until: float


@dataclass(slots=True)
class LeaseKeeper:
    """Keep the lease of one run. Each look is one read and at most one change."""

    store: Store
    command: KeepLease
    clock: Clock = field(default_factory=SystemClock, kw_only=True)
    _woken: threading.Event = field(default_factory=threading.Event, init=False)
    _successor: str | None = field(default=None, init=False)
    _next_heartbeat: float = field(default=0.0, init=False)
    _offer: _Offer | None = field(default=None, init=False)

    def serve(self, send: Callable[[Event], None]) -> None:
        """Look at the lease, and send events to the trainer, until the lease is lost."""
        event: Event | None = None
        while not isinstance(event, Lost):
            self._woken.wait(self.command.timing.poll_s)
            self._woken.clear()
            if event := self.look():
                send(event)

    def offer(self, successor: str) -> None:
        """Offer the lease to this standby from the next look on, and look at once."""
        self._offer = _Offer(successor=successor, until=self.clock.monotonic() + self.command.timing.offer_s)
        self._woken.set()

    def look(self) -> Event | None:
        """Return the event for the trainer, if any. Keep the state if the store fails."""
        try:
            return self._react(lease.look(self.store, self.command.run))
        except NewerFormat:  # written by another process, because this version writes none
            return Lost(holder="a newer program")
        except SpotError as error:
            _log.warning("the lease could not be read or changed: %s", error)
            return self._overdue()

    def _react(self, found: Found | None) -> Event | None:
        if found is None:  # deleted, and not claimed since
            return self._overdue()
        if found.lease.holder != self.command.name:
            return Lost(holder=found.lease.holder)
        if self._offer:
            return self._look_after(self._offer, found)
        if found.lease.offered:  # by an uploader that died: the trainer repeats the offer if it still stands
            lease.change(self.store, self.command.run, found, found.lease.without_request())
            return None
        if found.lease.successor and self.clock.monotonic() >= self._next_heartbeat:
            lease.change(self.store, self.command.run, found, found.lease.with_heartbeat())
            self._next_heartbeat = self.clock.monotonic() + self.command.timing.heartbeat_s
        if found.lease.successor == self._successor:
            return None
        self._successor = found.lease.successor
        return HandOverRequested(successor=self._successor)

    def _look_after(self, offer: _Offer, found: Found) -> Declined | None:
        if found.lease.successor != offer.successor:  # another standby waits instead
            return self._declined()
        if self.clock.monotonic() >= offer.until:
            if not lease.change(self.store, self.command.run, found, found.lease.without_request()):
                return None  # possibly accepted at this moment: the next look decides
            return self._declined()
        if not found.lease.offered:
            lease.change(self.store, self.command.run, found, found.lease.offered_to_successor())
        return None

    def _overdue(self) -> Declined | None:
        """Withdraw an offer after its time, even if the lease cannot be read, so that training continues.

        If the standby accepts later, the fencing token invalidates what this trainer commits from then on.
        """
        if self._offer is None or self.clock.monotonic() < self._offer.until:
            return None
        return self._declined()

    def _declined(self) -> Declined:
        self._offer = self._successor = None
        return Declined()
