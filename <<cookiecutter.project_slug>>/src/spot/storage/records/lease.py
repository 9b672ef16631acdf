"""Hold the lease of a run: its holder may commit checkpoints, and its successor waits for a hand-over.

The lease is one object, changed by compare-and-swap. No clock of another machine is trusted. The fencing token grows
with every claim and is part of each manifest's name, so that writes of a former holder are ignored.
"""

import logging
from dataclasses import dataclass, replace

from spot.core import fields
from spot.core.errors import Exit, SpotError
from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, Damaged, NotFound, Store
from spot.storage.records import codec, manifest, markers

FIX = "delete it, and the next start creates another"
CLAIMS_OF_A_START = 100
"""Bound of the claims of one start since the newest commit."""

_log = logging.getLogger(__name__)


class LeaseLost(SpotError):
    """Report that another process holds the lease or is about to: this process must stop training."""

    exit_code = Exit.AGAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Hold the state of the lease. Methods return the next state. Processes are named as in `a4.1`."""

    token: fields.Count
    """Fencing token: 1 higher with every claim."""
    holder: fields.Process
    successor: fields.Process | None = None
    """The standby that asks to replace the holder."""
    offered: bool = False
    """Whether the holder has made its state durable, and waits for the successor to accept."""
    heartbeat: fields.Count = 0
    """Grows while a successor waits and the holder is alive."""
    replaced: tuple[fields.Id, ...] = ()
    """Attempts that lost the lease for good: no later start of them may claim it."""

    @property
    def attempt(self) -> str:
        return attempt_of(self.holder)

    def claimed_by(self, name: str, replaces: str | None = None) -> "Lease":
        """Return the lease after a claim. A waiting successor must ask the new holder again.

        `replaces` is the attempt that loses the lease for good, whether or not it ever held it.
        """
        replaced = self.replaced if replaces is None else _with(self.replaced, replaces)
        return Lease(token=self.token + 1, holder=name, replaced=replaced)

    def taken_by(self, name: str, replaces: str | None = None) -> "Lease":
        """Return the lease after the successor took it: it was offered, or the holder is dead."""
        return replace(self, replaced=_with(self.replaced, self.attempt)).claimed_by(name, replaces)

    def requested_by(self, name: str) -> "Lease":
        return replace(self, successor=name, offered=False)

    def without_request(self) -> "Lease":
        """Return the lease without a successor: it did not accept in time."""
        return replace(self, successor=None, offered=False)

    def offered_to_successor(self) -> "Lease":
        return replace(self, offered=True)

    def with_heartbeat(self) -> "Lease":
        return replace(self, heartbeat=self.heartbeat + 1)


def _with(attempts: tuple[str, ...], attempt: str) -> tuple[str, ...]:
    return attempts if attempt in attempts else (*attempts, attempt)


def process_name(attempt: str, start: int) -> str:
    return f"{attempt}.{start}"


def attempt_of(name: str) -> str:
    return name.rpartition(".")[0]


def yield_to_later_start(name: str, other: str) -> None:
    """Raise `LeaseLost` if `other` is a later start of the same attempt: `name` was frozen."""
    start, later = (one.rpartition(".")[2] for one in (name, other))
    if attempt_of(name) == attempt_of(other) and later.isdecimal() and int(later) > int(start):
        raise LeaseLost(f"{other} is a later start of the attempt than {name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    lease: Lease
    generation: int


def read(store: Store, run: str) -> Lease | None:
    """Return the lease, None before the first claim."""
    found = look(store, run)
    return found.lease if found else None


def look(store: Store, run: str) -> Found | None:
    """Return the lease and its generation, None before the first claim."""
    try:
        held, generation = codec.read(Lease, store, paths.writer(run), "a lease", FIX)
    except NotFound:
        return None
    return Found(lease=held, generation=generation)


def change(store: Store, run: str, found: Found | None, lease: Lease) -> bool:
    """Replace `found` by `lease`, and return whether it was unchanged: if not, the next look reads the new state."""
    try:
        store.write(paths.writer(run), codec.encode(lease), if_generation=found.generation if found else ABSENT)
    except Conflict:
        return False
    return True


def claim(store: Store, run: str, name: str, replaces: str | None = None) -> Lease:
    """Take the lease from any holder.

    Raises `LeaseLost` if the holder is a later start of the same attempt, or if the attempt was replaced.
    """
    while True:
        try:
            found = look(store, run)
        except Damaged as error:
            _log.warning("claiming the lease anew: %s", error)
            generation = store.read(paths.writer(run)).generation
            found = Found(lease=_before_the_first(store, run), generation=generation)
        held = found.lease if found else _before_the_first(store, run)
        if held.holder == name:  # the reply to this claim was lost
            return held
        if attempt_of(name) in held.replaced:
            raise LeaseLost(f"attempt {attempt_of(name)} was replaced: the lease of run {run} is {held.holder}'s")
        yield_to_later_start(name, held.holder)
        claimed = held.claimed_by(name, replaces)
        if change(store, run, found, claimed):
            return claimed


def _before_the_first(store: Store, run: str) -> Lease:
    """Return a lease without a holder, with a token above every earlier claim.

    The lease may have been deleted. Starts that claimed it and have not committed are known by their markers only.
    """
    committed = max((commit.token for commit in manifest.listed(store, run)), default=0)
    earlier = max(markers.count_starts(store, run) - 1, 0)
    return Lease(token=committed + CLAIMS_OF_A_START * earlier, holder="")
