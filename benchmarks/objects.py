"""The objects of the stand-in for Cloud Storage: what a large body was, and small bodies whole."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spot.storage.checksum import crc32c


class Content:
    """A body as it arrives: its size and checksum, and its bytes while they are at most `keep`."""

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
    """One object, as it was last written."""

    name: str
    content: Content
    generation: int
    time: float
    """When the write was about to be acknowledged, on the clock that all processes of the machine share."""

    def resource(self) -> dict[str, Any]:
        """What the JSON API says of it."""
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
    """The object is in another generation than the one that the request asks for."""


class Objects:
    """All objects, and when each was acknowledged. Safe to use from several threads."""

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
        """Every write so far, oldest first."""
        with self._lock:
            return [{"name": it.name, "size": it.content.size, "time": it.time} for it in self._acknowledged]
