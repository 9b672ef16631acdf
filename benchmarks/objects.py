"""Hold the objects of the emulated Cloud Storage: small bodies whole, large bodies by checksum."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spot.storage.checksum import crc32c


class Content:
    """Collect size and checksum of a body, and its bytes up to `keep`."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.size = 0
        self.checksum = 0
        self.bytes: bytearray | None = bytearray()

    def add(self, data: memoryview | bytes) -> None:
        self.checksum = crc32c(data, self.checksum)
        self.size += len(data)
        if self.size > self._keep:
            self.bytes = None
        if self.bytes is not None:
            self.bytes += data


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Hold an object as last written."""

    name: str
    content: Content
    generation: int
    time: float
    """Time of the acknowledgement, by the clock that all processes share."""

    def resource(self) -> dict[str, Any]:
        """Return its JSON API resource."""
        return {
            "kind": "storage#object",
            "name": self.name,
            "bucket": "benchmark",
            "size": str(self.content.size),
            "generation": str(self.generation),
            "metageneration": "1",
            "crc32c": base64.b64encode(self.content.checksum.to_bytes(4, "big")).decode(),
        }


class Exists(Exception):
    """Report a generation that differs from the requested generation."""


class Objects:
    """Hold all objects and the times of their acknowledgement. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, Stored] = {}
        self._generation = 0
        self._acknowledged: list[Stored] = []

    def put(self, name: str, content: Content, if_generation: int | None) -> Stored:
        with self._lock:
            old = self._objects.get(name)
            if if_generation is not None and (old.generation if old else 0) != if_generation:
                raise Exists
            self._generation += 1
            stored = Stored(name=name, content=content, generation=self._generation, time=time.monotonic())
            self._objects[name] = stored
            self._acknowledged.append(stored)
            return stored

    def get(self, name: str) -> Stored | None:
        with self._lock:
            return self._objects.get(name)

    def under(self, prefix: str) -> Sequence[Stored]:
        with self._lock:
            return sorted((it for it in self._objects.values() if it.name.startswith(prefix)), key=lambda it: it.name)

    def delete(self, name: str) -> bool:
        with self._lock:
            return self._objects.pop(name, None) is not None

    def acknowledged(self) -> list[dict[str, Any]]:
        """Return every write so far, oldest first."""
        with self._lock:
            return [{"name": it.name, "size": it.content.size, "time": it.time} for it in self._acknowledged]
