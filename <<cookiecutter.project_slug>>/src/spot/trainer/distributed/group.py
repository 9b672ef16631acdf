"""Define how the ranks of a run agree. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import Any, Final, Protocol


class Vote(IntFlag):
    """Name what a rank can ask for at a step."""

    STOP = 1
    """This rank received SIGTERM or SIGINT."""
    SAVE = 2
    """A save is due. Rank 0 alone asks for it, when no save is in flight."""
    HAND_OVER = 4
    """A standby requests the lease. Rank 0 alone asks for it."""
    FAILED = 8
    """The upload of this rank's part failed: rank 0 must withdraw the save in flight."""


NOTHING: Final = Vote(0)
Outcome = Callable[[BaseException | None], tuple[int, str]]
"""Returns exit code and reason of a start that ended with an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTiming:
    """Hold how long a rank waits for the other ranks, in seconds."""

    rendezvous_s: float = 600.0
    """For a machine that starts later, and for work of a single rank, as a restore."""
    collective_s: float = 120.0
    vote_s: float = 20.0
    """At a vote, longer by the longest step so far."""


class Group(Protocol):
    """Exchange values with the other ranks. Every rank calls the same methods in the same order.

    A method raises `PeerLost` when a rank does not answer. `broadcast` and `gather` may wait long, and a
    signal interrupts them. Values are what JSON holds.
    """

    @property
    def rank(self) -> int: ...

    @property
    def world(self) -> int:
        """Return the number of ranks on all machines."""

    @property
    def local_world(self) -> int:
        """Return the number of ranks on this machine."""

    @property
    def node(self) -> int:
        """Return the number of this machine."""

    def broadcast(self, value: Any) -> Any:
        """Return the value of rank 0."""

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, on every rank."""

    def vote(self, vote: Vote) -> Vote:
        """Return what any rank asks for. Must not be called with one rank."""

    def concat(self, rows: Any) -> Any:
        """Return the tensors of all ranks, which have one shape, joined along the last dimension."""

    def settle(self, error: BaseException | None, outcome: Outcome) -> tuple[int, str]:
        """Return exit code and reason of this rank, and publish them.

        If `error` follows from the end of another rank, return those of the rank that failed first.
        """


@dataclass(frozen=True, slots=True)
class Alone:
    """Be the only rank: agree with itself."""

    rank: int = 0
    world: int = 1
    local_world: int = 1
    node: int = 0

    def broadcast(self, value: Any) -> Any:
        return value

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def vote(self, vote: Vote) -> Vote:
        return vote

    def concat(self, rows: Any) -> Any:
        return rows

    def settle(self, error: BaseException | None, outcome: Outcome) -> tuple[int, str]:
        return outcome(error)


ALONE: Final[Group] = Alone()
