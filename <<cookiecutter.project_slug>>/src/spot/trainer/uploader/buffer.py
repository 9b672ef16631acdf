"""Share memory between trainer and uploader: one anonymous file, reused for every checkpoint."""

import ctypes
import logging
import mmap
import os
import tempfile
from typing import Protocol

GROWTH = 1 << 20
SEGMENT = 256 << 20
"""Pinned memory is registered in pieces that end at multiples of this address. No copy may cross an end."""

_log = logging.getLogger(__name__)


class PageLock(Protocol):
    """Register main memory with a GPU, which then copies to it several times faster."""

    def pin(self, address: int, size: int) -> None:
        """Raise `OSError` if the memory cannot be registered."""

    def unpin(self, address: int) -> None: ...


def _anonymous_file() -> int:
    # /dev/shm may be 64 MB in a container; a memfd is bounded by memory alone.
    if hasattr(os, "memfd_create"):
        return os.memfd_create("checkpoint")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class SharedBuffer:
    """Hold one checkpoint. Never shrinks: copying into pages touched before is six times faster."""

    def __init__(self, fd: int | None = None) -> None:
        self.fd = _anonymous_file() if fd is None else fd
        self._size = 0
        self._map: mmap.mmap | None = None
        self._lock: PageLock | None = None
        self._pinned: list[int] = []
        self._refused = False

    def view(self, size: int) -> memoryview:
        """Return at least `size` writable bytes, shared with every process that has the descriptor."""
        if size > self._size or self._map is None:
            if size > os.fstat(self.fd).st_size:
                os.ftruncate(self.fd, size + -size % GROWTH)
            self._unpin()
            self._size = os.fstat(self.fd).st_size
            self._map = mmap.mmap(self.fd, self._size)
        return memoryview(self._map)

    def pin(self, lock: PageLock) -> None:
        """Register the memory that `view` returned last, unless it is or was refused once: copies are slower then."""
        if self._pinned or self._refused or self._map is None:
            return
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        end, self._lock = start + self._size, lock
        try:
            os.posix_fallocate(self.fd, 0, self._size)  # registering fresh pages takes longer
            while start < end:
                after = min(end, start - start % SEGMENT + SEGMENT)
                lock.pin(start, after - start)
                self._pinned.append(start)
                start = after
        except OSError as error:
            self._unpin()
            self._refused = True
            _log.warning(
                "%.1f MB of memory cannot be pinned (%s): each checkpoint stalls training several times longer",
                self._size / 1e6,
                error,
            )

    def _unpin(self) -> None:
        while self._lock and self._pinned:
            self._lock.unpin(self._pinned.pop())
