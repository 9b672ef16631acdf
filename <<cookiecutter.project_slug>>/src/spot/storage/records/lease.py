"""The writer's lease: which process may commit checkpoints of a run, and who waits to relieve it.

One object a run, changed only by compare-and-swap on its generation. No clock of another machine is trusted: `token`
grows with every claim and is part of every checkpoint's name, so that what a former holder still writes does not count.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from spot.core.errors import Exit, SpotError
from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, Damaged, NewerFormat, NotFound, Store
from spot.storage.records import manifest, markers

FORMAT = 1

CLAIMS_OF_A_START = 100
"""More than a lease that was deleted can have seen, for each start, since the newest commit."""


class LeaseLost(SpotError):
    """Report that another process holds the lease or is about to: this process must stop training."""

    exit_code = Exit.AGAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Processes are named by attempt and start, as a4.1. Its methods return what it is to become."""

    token: int
    """From 1; one higher with every claim."""
    holder: str
    successor: str | None = None
    """Who asks to relieve the holder."""
    offered: bool = False
    """The holder has made its state durable, and waits for the successor to accept."""
    heartbeat: int = 0
    """Grows while somebody waits and the holder lives."""
    replaced: tuple[str, ...] = ()
    """Attempts that others have taken the place of: no later start of theirs takes it back."""

    @property
    def attempt(self) -> str:
        """The holder's."""
        return attempt_of(self.holder)

    def claimed_by(self, name: str, replaces: str | None = None) -> Lease:
        """By a start that nobody needs to make way for. Who waits, and lives, asks the new holder anew.

        `replaces` is the attempt whose place it takes, whether or not that has ever held the lease.
        """
        replaced = self.replaced if replaces is None else _with(self.replaced, replaces)
        return Lease(token=self.token + 1, holder=name, replaced=replaced)

    def taken_by(self, name: str, replaces: str | None = None) -> Lease:
        """By the successor, likewise: it was offered, or the holder is dead."""
        return replace(self, replaced=_with(self.replaced, self.attempt)).claimed_by(name, replaces)

    def requested_by(self, name: str) -> Lease:
        """In place of whoever waited before."""
        return replace(self, successor=name, offered=False)

    def without_request(self) -> Lease:
        """The successor has withdrawn, or did not accept in time: if it lives, it asks anew."""
        return replace(self, successor=None, offered=False)

    def offered_to_successor(self) -> Lease:
        return replace(self, offered=True)

    def with_heartbeat(self) -> Lease:
        return replace(self, heartbeat=self.heartbeat + 1)

    def to_json(self) -> bytes:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes, name: str) -> Lease:
        """Raises `Damaged` or `NewerFormat`, naming `name`."""
        try:
            values = json.loads(text)
            if (found := int(values.pop("format"))) > FORMAT:
                raise NewerFormat(f"{name} has format {found}, this program reads up to {FORMAT}: use a newer image")
            lease = cls(**{**values, "replaced": tuple(values["replaced"])})
            _check(lease)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"{name} is no writer's lease: delete it, and the next start makes another") from error
        return lease


def _with(attempts: tuple[str, ...], attempt: str) -> tuple[str, ...]:
    return attempts if attempt in attempts else (*attempts, attempt)


def _check(lease: Lease) -> None:
    right = (
        type(lease.token) is int
        and isinstance(lease.holder, str)
        and isinstance(lease.successor, str | None)
        and isinstance(lease.offered, bool)
        and type(lease.heartbeat) is int
        and all(isinstance(attempt, str) for attempt in lease.replaced)
    )
    if not right:
        raise TypeError


def process_name(attempt: str, start: int) -> str:
    """What a process is called in the lease."""
    return f"{attempt}.{start}"


def attempt_of(name: str) -> str:
    return name.rpartition(".")[0]


def yield_to_later_start(name: str, other: str) -> None:
    """Raise `LeaseLost` if `other` is a later start of the same attempt: `name` was frozen, and passes for dead."""
    start, later = (one.rpartition(".")[2] for one in (name, other))
    if attempt_of(name) == attempt_of(other) and later.isdecimal() and int(later) > int(start):
        raise LeaseLost(f"{other} is a later start of the attempt than {name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The lease as it was read."""

    lease: Lease
    generation: int


def read(store: Store, run: str) -> Lease | None:
    """None before the first claim. Raises `SpotError`."""
    found = look(store, run)
    return found.lease if found else None


def look(store: Store, run: str) -> Found | None:
    """The lease, and the generation that a change of it rests on."""
    name = paths.writer(run)
    try:
        found = store.read(name)
    except NotFound:
        return None
    return Found(lease=Lease.from_json(found.data, f"{store.uri}/{name}"), generation=found.generation)


def change(store: Store, run: str, found: Found | None, lease: Lease) -> int:
    """Put `lease` in the place of what was found; the new generation. Raises `Conflict` if that has changed since."""
    generation = found.generation if found else ABSENT
    return store.write(paths.writer(run), lease.to_json(), if_generation=generation).generation


def claim(store: Store, run: str, name: str, replaces: str | None = None) -> Lease:
    """Take the lease, whoever holds it but a later start of the same attempt.

    Raises `LeaseLost` if that holds it, and for a start of an attempt that was replaced before.
    """
    while True:
        found = look(store, run)
        if found and found.lease.holder == name:  # the reply to our claim was lost
            return found.lease
        if found and attempt_of(name) in found.lease.replaced:
            raise LeaseLost(
                f"attempt {attempt_of(name)} was replaced: the lease of run {run} is {found.lease.holder}'s"
            )
        if found:
            yield_to_later_start(name, found.lease.holder)
        lease = (found.lease if found else _before_the_first(store, run)).claimed_by(name, replaces)
        try:
            change(store, run, found, lease)
        except Conflict:
            continue
        return lease


def _before_the_first(store: Store, run: str) -> Lease:
    """Nobody's, above every token that may have been claimed: somebody may have deleted the lease of a run.

    A start that claimed and has not committed yet is known by its marker alone; what it still commits must not count.
    """
    committed = max((commit.token for commit in manifest.listed(store, run)), default=0)
    earlier = max(markers.count_starts(store, run) - 1, 0)
    return Lease(token=committed + CLAIMS_OF_A_START * earlier, holder="")
