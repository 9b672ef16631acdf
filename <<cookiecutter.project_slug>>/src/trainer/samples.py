"""What `data.py` gives the loop, and how it reads objects so that a run knows its data again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from bucket.checksum import crc32c
from bucket.manifest import DataObject
from bucket.store import NotFound, StoreError, open_object
from trainer.errors import UsageError
from trainer.order import Sample


class Samples(Protocol):
    """A data set. An item is (input, target) and a pure function of its `Sample`: no global randomness."""

    def __len__(self) -> int: ...

    def __getitem__(self, sample: Sample) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What `data.load` returns."""

    train: Samples
    held_out: Samples
    objects: tuple[DataObject, ...]
    """Everything that was read: a run goes on only on the same."""


def read_pinned(uri: str) -> tuple[bytes, DataObject]:
    """The bytes of a local file or a `gs://` object, and what pins them. Raises `UsageError` naming it.

    `gs://bucket/object#generation` is that generation or nothing: `spot submit` pins what it finds.
    """
    plain, wanted = _generation(uri)
    try:
        store, name = open_object(plain)
        found = store.read(name)
    except NotFound as error:
        raise UsageError(f"--data {uri}: it does not exist") from error
    except (StoreError, ValueError) as error:
        raise UsageError(f"--data {uri}: {error}") from error
    if wanted not in {None, found.generation}:
        raise UsageError(
            f"--data {uri}: it was written again since, and has generation {found.generation}: bring the old"
            " content back, or begin another run"
        )
    # A local file's generation is its time of change, which says nothing about its content.
    generation = found.generation if plain.startswith("gs://") else 0
    return found.data, DataObject(uri=plain, size=len(found.data), crc32c=crc32c(found.data), generation=generation)


def _generation(uri: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(gs://.+)#(\d+)", uri)
    return (match[1], int(match[2])) if match else (uri, None)
