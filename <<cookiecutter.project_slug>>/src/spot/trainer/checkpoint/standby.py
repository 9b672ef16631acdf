"""Wait as a standby, with the model loaded, until the holder offers the lease or is dead."""

import contextlib
from dataclasses import KW_ONLY, dataclass, field

from spot.core.clock import Clock, SystemClock
from spot.core.errors import TemporarilyUnavailable
from spot.storage.base import Damaged, Store
from spot.storage.records import completion, lease
from spot.storage.records.lease import Lease, LeaseLost
from spot.trainer.distributed.group import ALONE, Group
from spot.trainer.uploader.messages import LeaseTiming

_WAITING, _COMPLETE = -1, 0
"""In place of a fencing token."""


def stand_by(standby: "Standby", outputs: Store, group: Group = ALONE) -> int | None:
    """Wait until rank 0 has the lease, and return its fencing token, None once the run is complete.

    Raise `LeaseLost` if another standby waits instead.
    """
    while (token := group.broadcast(None if group.rank else _look(standby, outputs))) == _WAITING:
        if not group.rank:
            standby.clock.sleep(standby.timing.poll_s)
    return token or None


def _look(standby: "Standby", outputs: Store) -> int:
    with contextlib.suppress(TemporarilyUnavailable):
        if completion.find(outputs, standby.run):
            return _COMPLETE
        if mine := standby.look():
            return mine.token
    return _WAITING


@dataclass(slots=True)
class Standby:
    """Request the lease of `run` for the process `name`, which replaces the attempt `replaces`.

    `replaces` loses its right to the lease even if its trainer has not started yet. Each look is one read and at most
    one change.
    """

    store: Store
    run: str
    name: str
    timing: LeaseTiming
    _: KW_ONLY
    replaces: str
    clock: Clock = field(default_factory=SystemClock)
    _asked: bool = field(default=False, init=False)
    _generation: int = field(default=0, init=False)
    _unchanged_since: float = field(default=0.0, init=False)
    _looked: float = field(default=0.0, init=False)

    def look(self) -> Lease | None:
        """Return the lease once acquired. Raise `LeaseLost` if another standby waits instead, `SpotError`."""
        try:
            found = lease.look(self.store, self.run)
        except Damaged:  # a claim replaces it
            found = None
        if found is None or found.lease.attempt == lease.attempt_of(self.name):
            return lease.claim(self.store, self.run, self.name, self.replaces)
        held = found.lease
        if lease.attempt_of(self.name) in held.replaced:
            raise LeaseLost(f"attempt {lease.attempt_of(self.name)} was replaced: {held.holder} holds the lease")
        if self.replaces in held.replaced:  # while this process was frozen or had not started
            raise LeaseLost(f"another standby replaced {self.replaces}: {held.holder} holds the lease")
        dead = self._is_silent(found.generation)
        if held.successor == self.name:
            taken = held.taken_by(self.name, self.replaces)
            return taken if (held.offered or dead) and lease.change(self.store, self.run, found, taken) else None
        if held.successor:
            lease.yield_to_later_start(self.name, held.successor)
        if held.successor and self._asked:
            raise LeaseLost(f"{held.successor} waits for the lease of run {self.run} instead of {self.name}")
        self._asked = lease.change(self.store, self.run, found, held.requested_by(self.name))
        return None

    def _is_silent(self, generation: int) -> bool:
        """Return whether the lease stayed unchanged for `dead_s` of local time, under constant observation."""
        now = self.clock.monotonic()
        if generation != self._generation or now - self._looked > self.timing.dead_s / 2:
            self._generation, self._unchanged_since = generation, now
        self._looked = now
        return now - self._unchanged_since >= self.timing.dead_s
