"""Keep the lease on behalf of its holder: watch it, send heartbeats, offer it to a standby.

Runs in the uploader, so that training never waits for it. docs/checkpoints.md explains the protocol.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from spot.core.errors import SpotError
from spot.storage.base import Conflict, NewerFormat, Store
from spot.storage.records import lease
from spot.storage.records.lease import Found, Lease
from spot.trainer.uploader.messages import Declined, HandOverRequested, KeepLease, Lost

Event = HandOverRequested | Declined | Lost

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    successor: str
    until: float


class LeaseKeeper:
    """Keep the lease of one run. Each look is one read and at most one change."""

    def __init__(self, store: Store, hold: KeepLease, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._hold = hold
        self._clock = clock
        self._woken = threading.Event()
        self._successor: str | None = None
        self._next_heartbeat = clock()
        self._offer: _Offer | None = None

    def serve(self, send: Callable[[Event], None]) -> None:
        """Look at the lease, and send events to the trainer, until the lease is lost."""
        event: Event | None = None
        while not isinstance(event, Lost):
            self._woken.wait(self._hold.poll_s)
            self._woken.clear()
            try:
                event = self.look()
            except SpotError as error:
                _log.warning("the lease could not be read or changed: %s", error)
                event = self.overdue()
            if event:
                send(event)

    def offer(self, successor: str) -> None:
        """Offer the lease to this standby from the next look on, and look at once."""
        self._offer = _Offer(successor=successor, until=self._clock() + self._hold.offer_s)
        self._woken.set()

    def look(self) -> Event | None:
        """Return the event for the trainer, if any. Raise `SpotError`, and keep the state, if the store fails."""
        try:
            found = lease.look(self._store, self._hold.run)
        except NewerFormat:  # written by another process, because this version writes none
            return Lost(holder="a newer program")
        if found is None:  # deleted, and not claimed since
            return self.overdue()
        if found.lease.holder != self._hold.name:
            return Lost(holder=found.lease.holder)
        if self._offer:
            return self._look_after(self._offer, found)
        if found.lease.offered:  # by an uploader that died: the trainer repeats the offer if it still stands
            self._change(found, found.lease.without_request())
            return None
        if found.lease.successor and self._clock() >= self._next_heartbeat:
            self._change(found, found.lease.with_heartbeat())
            self._next_heartbeat = self._clock() + self._hold.heartbeat_s
        if found.lease.successor == self._successor:
            return None
        self._successor = found.lease.successor
        return HandOverRequested(successor=self._successor)

    def _look_after(self, offer: _Offer, found: Found) -> Declined | None:
        if found.lease.successor != offer.successor:  # the standby withdrew or was replaced
            return self._declined()
        if self._clock() >= offer.until:
            if not self._change(found, found.lease.without_request()):
                return None  # possibly accepted at this moment: the next look decides
            return self._declined()
        if not found.lease.offered:
            self._change(found, found.lease.offered_to_successor())
        return None

    def overdue(self) -> Declined | None:
        """Withdraw an offer after its time, even if the lease cannot be read, so that training continues.

        If the standby accepts later, the fencing token invalidates what this trainer commits from then on.
        """
        if self._offer is None or self._clock() < self._offer.until:
            return None
        return self._declined()

    def _declined(self) -> Declined:
        self._offer = self._successor = None
        return Declined()

    def _change(self, found: Found, new: Lease) -> bool:
        try:
            lease.change(self._store, self._hold.run, found, new)
        except Conflict:  # the next look reads the new state
            return False
        return True
