"""Define the interface of an object store, its values and its errors."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from spot.core import fields
from spot.core.errors import Exit, SpotError

ABSENT = 0
"""Generation of an object that does not exist: `write(..., if_generation=ABSENT)` creates it or fails."""

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
    """Report that the caller withdrew a write in progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    generation: fields.Size
    size: fields.Size
    crc32c: fields.Crc32c
    sha256: fields.Sha256 | None = None
    """Of a result; no store computes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    data: bytes
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    name: str
    size: int
    generation: int
    crc32c: int | None = None
    """None where a listing does not tell it: a local file's would have to be computed."""
    created: datetime | None = None
    """When this generation was written; None for a local file."""


def root_cause(error: BaseException) -> BaseException:
    """Return the first cause of an error: the layers of a network library only repeat it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error


def never() -> bool:
    """Withdraw no write."""
    return False


def checked_name(name: str) -> str:
    """Return `name` if it is valid in every store. Raises `ValueError`."""
    parts = name.split("/")
    if not all(parts) or "." in parts or ".." in parts or not name.isprintable():
        raise ValueError(f"{name!r} is not an object name: expected printable parts between slashes")
    return name


class Store(Protocol):
    """Address objects below `uri` by `/`-separated names.

    A write is conditional, atomic and durable when it returns. Names that `checked_name` rejects raise `ValueError`.
    Names are `str`, because `Path` folds the `//` of a `gs://` URI.
    """

    uri: str

    def write(
        self, name: str, data: bytes | memoryview, *, if_generation: int, cancelled: Callable[[], bool] = never
    ) -> Written:
        """Write `name` if its generation is `if_generation` (`ABSENT`: create it).

        Raises `Conflict` if it is another, and `Cancelled` once `cancelled()` is true.
        """

    def read(self, name: str) -> Object:
        """Return the newest generation of a small object. Raises `NotFound`."""

    def read_into(self, name: str, view: memoryview, *, generation: int) -> None:
        """Fill `view` with this generation. Raises `NotFound`, or `Damaged` if the size differs."""

    def list(self, prefix: str) -> list[Entry]:
        """Return all objects whose name starts with `prefix`, sorted by name."""

    def delete(self, name: str) -> None:
        """Remove `name` if it exists."""
