"""Keep objects in memory, and let a test write between two requests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from spot.storage.base import ABSENT, Conflict, Damaged, Entry, NotFound, Object, Written, never
from spot.storage.checksum import crc32c


class MemoryStore:
    """A `Store`. `before_next_write` is called once, before the next write is looked at."""

    def __init__(self, uri: str = "memory") -> None:
        self.uri = uri
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
        found = self._objects[name].generation if name in self._objects else ABSENT
        if found != if_generation:
            raise Conflict(f"cannot write {self.uri}/{name}: it has another generation: {found}, not {if_generation}")
        written = self._objects[name] = Object(data=bytes(data), generation=next(self._generations))
        return Written(generation=written.generation, size=len(written.data), crc32c=crc32c(written.data))

    def read(self, name: str) -> Object:
        if name not in self._objects:
            raise NotFound(f"cannot read {self.uri}/{name}: it does not exist")
        return self._objects[name]

    def read_into(self, name: str, view: memoryview, *, generation: int) -> None:
        found = self.read(name)
        if found.generation != generation:
            raise NotFound(f"{self.uri}/{name} is generation {found.generation}, not {generation}")
        if len(found.data) != view.nbytes:
            raise Damaged(f"{self.uri}/{name} has {len(found.data)} bytes, expected {view.nbytes}")
        view[:] = found.data

    def list(self, prefix: str) -> list[Entry]:
        return [
            Entry(name=name, size=len(found.data), generation=found.generation)
            for name, found in sorted(self._objects.items())
            if name.startswith(prefix)
        ]

    def delete(self, name: str) -> None:
        self._objects.pop(name, None)
