"""What the trainer and its uploader say to each other: one JSON line a message, over a socket pair."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import get_args

from spot.storage.records.manifest import Json


class Fault(StrEnum):
    """Why a save failed, as far as the trainer must tell the cases apart."""

    TRANSIENT = "passing"
    """The store did not answer for long; the next save may succeed."""
    DENIED = "denied"
    """It fails until somebody acts."""
    BUG = "bug"


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """To the uploader: make the first `size` bytes of the buffer durable, then commit this manifest."""

    save: int
    """Counted from 1 in each process, so that no two saves share a part's name."""
    size: int
    manifest: dict[str, Json]
    prune: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """To the uploader: stop reading the buffer; answered by `Released`."""

    save: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """To the uploader: copy a local file to the store, over its last copy."""

    path: str
    directory: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepLease:
    """To the uploader: the lease of the run is ours; look after it. The first such order counts."""

    run: str
    name: str
    """What we are called in it."""
    poll_s: float
    heartbeat_s: float
    offer_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """To the uploader: training stands still at a durable step; offer the lease. Answered by `Declined` or `Lost`."""

    successor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Durable:
    """From the uploader: the checkpoint is committed."""

    save: int
    step: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """From the uploader: the checkpoint is not committed, as far as is known."""

    save: int
    step: int
    fault: Fault
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """From the uploader: the buffer may be written again. A save past its last part goes on to `Durable`."""

    save: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """From the uploader: the copy was made, or given up."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOverRequested:
    """From the uploader: who asks to relieve us now; None: nobody any more."""

    successor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """From the uploader: the offer does not stand any more, and the lease is ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """From the uploader: the lease is another's."""

    holder: str


Command = Save | Withdraw | Mirror | KeepLease | Offer
Event = Durable | Failed | Released | Mirrored | HandOverRequested | Declined | Lost
Message = Command | Event
_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in (*get_args(Command), *get_args(Event))}


class Channel:
    """One end of the socket pair."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._received = b""

    def send(self, message: Message) -> None:
        """Raises `OSError` if the other side is gone."""
        self._end.settimeout(None)  # the last `receive` may have left it so that a long message fails half-way
        self._end.sendall(json.dumps({"is": type(message).__name__, **asdict(message)}).encode() + b"\n")

    def receive(self, timeout_s: float | None) -> Iterator[Message]:
        """The messages that are here, or the first to arrive in time. Raises `EOFError` if the other side is gone."""
        self._end.settimeout(timeout_s)
        while b"\n" not in self._received:
            try:
                data = self._end.recv(1 << 16)
            except (TimeoutError, BlockingIOError):
                return
            except ConnectionError:
                data = b""
            if not data:
                raise EOFError
            self._received += data
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            values = json.loads(line)
            yield _KINDS[values.pop("is")](**values)

    def close(self) -> None:
        self._end.close()
