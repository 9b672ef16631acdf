"""The successor's side of the writer's lease: waiting, warm, until the holder offers it, or is dead."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from spot.core.errors import SpotError, TemporarilyUnavailable
from spot.storage.base import Conflict, Store
from spot.storage.records import completion, lease
from spot.storage.records.lease import Found, Lease, LeaseLost
from spot.trainer.runtime.errors import Stopped
from spot.trainer.uploader.timing import LeaseTiming

WITHDRAW_S = 3.0
"""The longest that a stop waits for the request to be withdrawn."""

_log = logging.getLogger(__name__)


def stand_by(
    standby: Standby,
    outputs: Store,
    timing: LeaseTiming,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Lease | None:
    """Wait for the lease; None if the run was completed meanwhile. Raises `LeaseLost` if another one waits instead."""
    try:
        while True:
            with contextlib.suppress(TemporarilyUnavailable):
                if completion.read(outputs, standby.run) is not None:
                    return None
                if mine := standby.look():
                    return mine
            sleep(timing.poll_s)
    except Stopped:
        withdrawal = threading.Thread(target=standby.withdraw, daemon=True)
        withdrawal.start()
        withdrawal.join(WITHDRAW_S)
        raise


class Standby:
    """Asks for the lease of `run` in the name of `name`, to take the place of the attempt `replaces`.

    Whoever holds it, `replaces` is among the replaced from then on: its trainer may not have been there yet. Each look
    is one read and at most one change.
    """

    def __init__(
        self,
        store: Store,
        run: str,
        name: str,
        timing: LeaseTiming,
        *,
        replaces: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run = run
        self._store = store
        self._name = name
        self._replaces = replaces
        self._dead_s = timing.dead_s
        self._clock = clock
        self._asked = False
        self._generation = 0
        self._unchanged_since = self._looked = clock()

    def look(self) -> Lease | None:
        """The lease, once it is ours. Raises `LeaseLost` if another one waits in our place, `SpotError`."""
        found = lease.look(self._store, self.run)
        if found is None or found.lease.attempt == lease.attempt_of(self._name):
            return lease.claim(self._store, self.run, self._name, self._replaces)
        held = found.lease
        if lease.attempt_of(self._name) in held.replaced:
            raise LeaseLost(f"attempt {lease.attempt_of(self._name)} was replaced: the lease is {held.holder}'s")
        if self._replaces in held.replaced:  # while this one was frozen, or not there yet
            raise LeaseLost(f"another one has replaced {self._replaces}: the lease is {held.holder}'s")
        dead = self._gives_no_sign_of_life(found.generation)
        if held.successor == self._name:
            taken = held.taken_by(self._name, self._replaces)
            return taken if (held.offered or dead) and self._change(found, taken) else None
        if held.successor:
            lease.yield_to_later_start(self._name, held.successor)
        if held.successor and self._asked:
            raise LeaseLost(f"{held.successor} waits for the lease of run {self.run} in the place of {self._name}")
        self._asked = self._change(found, held.requested_by(self._name))
        return None

    def withdraw(self) -> None:
        """Do not let the holder stand still for nobody. Not done if it cannot be done at once."""
        with contextlib.suppress(SpotError):
            found = lease.look(self._store, self.run)
            if found and found.lease.successor == self._name:
                self._change(found, found.lease.without_request())

    def _gives_no_sign_of_life(self, generation: int) -> bool:
        """Whether the holder had long enough to change the lease, by our clock, and was looked at all the while."""
        now = self._clock()
        if generation != self._generation or now - self._looked > self._dead_s / 2:
            self._generation, self._unchanged_since = generation, now
        self._looked = now
        return now - self._unchanged_since >= self._dead_s

    def _change(self, found: Found, new: Lease) -> bool:
        try:
            lease.change(self._store, self.run, found, new)
        except Conflict:  # the next look sees by whom
            return False
        return True
