"""The holder's side of the writer's lease: noticing that it is lost or wanted, giving signs of life, offering it.

A part of the uploader, so that training never waits for it. docs/checkpoints.md tells the whole protocol.
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
    """The lease while it is ours. Each look is one read and at most one change."""

    def __init__(self, store: Store, hold: KeepLease, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._hold = hold
        self._clock = clock
        self._woken = threading.Event()
        self._successor: str | None = None
        self._next_heartbeat = clock()
        self._offer: _Offer | None = None

    def serve(self, tell: Callable[[Event], None]) -> None:
        """Until the lease is lost."""
        news: Event | None = None
        while not isinstance(news, Lost):
            self._woken.wait(self._hold.poll_s)
            self._woken.clear()
            try:
                news = self.look()
            except SpotError as error:
                _log.warning("the lease was not looked at: %s", error)
                news = self.overdue()
            if news:
                tell(news)

    def offer(self, successor: str) -> None:
        """From the next look on, which is soon."""
        self._offer = _Offer(successor=successor, until=self._clock() + self._hold.offer_s)
        self._woken.set()

    def look(self) -> Event | None:
        """What the trainer must hear. Raises `SpotError`: then nothing has changed."""
        try:
            found = lease.look(self._store, self._hold.run)
        except NewerFormat:  # we write none
            return Lost(holder="a newer program")
        if found is None:  # somebody deleted it, and nobody has claimed it since
            return self.overdue()
        if found.lease.holder != self._hold.name:
            return Lost(holder=found.lease.holder)
        if self._offer:
            return self._look_after(self._offer, found)
        if found.lease.offered:  # and the trainer goes on, or has not said so yet to an uploader that replaces another
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
        if found.lease.successor != offer.successor:  # it has withdrawn, or another one took its place
            return self._declined()
        if self._clock() >= offer.until:
            if not self._change(found, found.lease.without_request()):
                return None  # accepted in this very moment, perhaps: the next look tells
            return self._declined()
        if not found.lease.offered:
            self._change(found, found.lease.offered_to_successor())
        return None

    def overdue(self) -> Declined | None:
        """There is no answer, or no lease any more: nobody stands still for longer than was said.

        If the successor accepts all the same, what is committed here from now on does not count.
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
        except Conflict:  # the next look sees by whom
            return False
        return True
