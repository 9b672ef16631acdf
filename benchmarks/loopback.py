"""Run the shaped server as a process, and measure the lower bound of its network."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.ways import BUCKET

STREAMS = 8
"""The number of the uploader's streams."""
PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """Hold one confirmed write."""

    name: str
    size: int
    time: float
    """Time by `time.monotonic`."""


@dataclass(frozen=True, slots=True)
class Loopback:
    """Hold a running shaped server."""

    url: str

    def environment(self) -> dict[str, str]:
        """Return the environment that makes a process use it as Cloud Storage."""
        return {**os.environ, "STORAGE_EMULATOR_HOST": self.url}

    def acknowledged(self) -> list[Acknowledged]:
        """Return every write so far, oldest first."""
        with urllib.request.urlopen(f"{self.url}/acknowledged", timeout=10) as reply:
            return [Acknowledged(**values) for values in json.load(reply)]


@contextlib.contextmanager
def serve() -> Iterator[Loopback]:
    """Start it without objects; it ends with this process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.shaped"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"the shaped server did not start: exit code {process.wait()}")
        yield Loopback(url)
    finally:
        process.kill()
        process.wait()


def wire_s(loopback: Loopback, size: int) -> float:
    """Return the seconds to send `size` bytes over `STREAMS` connections, then one small object."""
    memory = mmap.mmap(-1, -(-size // STREAMS))
    view = memoryview(memory)
    view[:] = bytes(len(view))
    with ThreadPoolExecutor(STREAMS) as pool:
        began = time.monotonic()
        list(pool.map(lambda index: _send(loopback.url, f"wire/{index}", view), range(STREAMS)))
        _send(loopback.url, "wire/last", memoryview(b"{}"))
        return time.monotonic() - began


def _send(url: str, name: str, data: memoryview) -> None:
    boundary = b"boundary"
    metadata = json.dumps({"name": name}).encode()
    head = b"--%b\r\n\r\n%b\r\n--%b\r\n\r\n" % (boundary, metadata, boundary)
    tail = b"\r\n--%b--" % boundary
    request = (
        f"POST /upload/storage/v1/b/{BUCKET}/o?uploadType=multipart HTTP/1.1\r\n"
        f"content-type: multipart/related; boundary={boundary.decode()}\r\n"
        f"content-length: {len(head) + len(data) + len(tail)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 80)) as connection:
        connection.sendall(request.encode() + head)
        for start in range(0, len(data), PIECE):
            connection.sendall(data[start : start + PIECE])
        connection.sendall(tail)
        reply = connection.recv(1 << 16)
        if not reply.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the shaped server refused {name}: {reply[:200]!r}")
