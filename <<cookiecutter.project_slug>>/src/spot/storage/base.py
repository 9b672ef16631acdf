"""The object store as both sides see it: one Protocol, its errors, and the URI that opens one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from spot.core.errors import Exit, SpotError

ABSENT = 0
"""The generation of an object that does not exist: `write(..., if_generation=ABSENT)` creates it or fails."""

GIVE_UP_S = 120.0


class NotFound(SpotError):
    """Report an object that does not exist, or not in the generation asked for."""

    exit_code = Exit.AGAIN


class Conflict(SpotError):
    """Report a write whose expected generation is not the object's: another process wrote it."""

    exit_code = Exit.AGAIN


class Damaged(SpotError):
    """Report content that is not what was written: a wrong checksum, a wrong size or an invalid record."""


class NewerFormat(SpotError):
    """Report a record written by a newer program. It is not damaged and must not be replaced."""


class Cancelled(Exception):
    """The caller withdrew the write while it was under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a write left in the store."""

    generation: int
    size: int
    crc32c: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """A small object, whole."""

    data: bytes
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a listing."""

    name: str
    size: int
    generation: int


def root_cause(error: BaseException) -> BaseException:
    """What the layers of a network library around it repeat at length."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error


def never() -> bool:
    """The `cancelled` of a write that nobody withdraws."""
    return False


def checked_name(name: str) -> str:
    """`name`, if every store can hold an object of it. Raises `ValueError`."""
    parts = name.split("/")
    if not all(parts) or "." in parts or ".." in parts or not name.isprintable():
        raise ValueError(f"{name!r} is not a name of an object: expected printable parts between slashes")
    return name


class Store(Protocol):
    """Objects under a root, addressed by `/`-separated names relative to it.

    Every write is conditional and durable when it returns, and a reader sees an object whole or not at all.
    Names are `str`, not `Path`, which would fold the `//` of a `gs://` URI; other ones than `checked_name` lets pass
    raise `ValueError`.
    """

    uri: str

    def write(
        self,
        name: str,
        data: bytes | memoryview,
        *,
        if_generation: int,
        cancelled: Callable[[], bool] = never,
    ) -> Written:
        """Write `name` if its generation is `if_generation` (`ABSENT`: create it).

        Raises `Conflict` if it is not, `Cancelled` as soon as `cancelled()` is seen to be true.
        """

    def read(self, name: str) -> Object:
        """The newest generation of a small object. Raises `NotFound`."""

    def read_into(self, name: str, view: memoryview, *, generation: int) -> None:
        """Fill `view` with exactly this generation. Raises `NotFound`, or `Damaged` if the size is another."""

    def list(self, prefix: str) -> list[Entry]:
        """Every object whose name starts with `prefix`, sorted by name."""

    def delete(self, name: str) -> None:
        """Remove `name`; an absent one is no error."""
