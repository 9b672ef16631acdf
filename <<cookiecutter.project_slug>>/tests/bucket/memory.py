"""A store in this process's memory, in which another writer can come between any two requests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from bucket.checksum import crc32c
from bucket.store import ABSENT, Conflict, Damaged, Entry, NotFound, Object, Written, never


class MemoryStore:
    """A `Store`. `before_next_write` is called once, before the next write is looked at."""

    uri = "memory"

    def __init__(self) -> None:
        self._objects: dict[str, Object] = {}
        self._generations: Iterator[int] = itertools.count(1)
        self.before_next_write: Callable[[], None] | None = None

    def write(
        self,
        name: str,
        data: bytes | memoryview,
        *,
        if_generation: int,
        cancelled: Callable[[], bool] = never,  # noqa: ARG002  # a Store
    ) -> Written:
        meanwhile, self.before_next_write = self.before_next_write, None
        if meanwhile:
            meanwhile()
        found = self._objects.get(name)
        if (found.generation if found else ABSENT) != if_generation:
            raise Conflict(f"cannot write {name}")
        generation = next(self._generations)
        self._objects[name] = Object(data=bytes(data), generation=generation)
        return Written(generation=generation, size=len(data), crc32c=crc32c(data))

    def read(self, name: str) -> Object:
        if name not in self._objects:
            raise NotFound(f"cannot read {name}")
        return self._objects[name]

    def read_into(self, name: str, view: memoryview, *, generation: int) -> None:
        found = self.read(name)
        if found.generation != generation:
            raise NotFound(f"cannot read {name}")
        if len(found.data) != view.nbytes:
            raise Damaged(f"{name} has {len(found.data)} bytes")
        view[:] = found.data

    def list(self, prefix: str) -> list[Entry]:
        return [
            Entry(name=name, size=len(found.data), generation=found.generation)
            for name, found in sorted(self._objects.items())
            if name.startswith(prefix)
        ]

    def delete(self, name: str) -> None:
        self._objects.pop(name, None)
