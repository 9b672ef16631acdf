"""Copy an object that may be larger than memory into a file."""

import mmap
import os
from typing import IO

from spot.storage.base import Store
from spot.storage.checksum import crc32c


def fetch(store: Store, name: str, size: int, generation: int, file: IO[bytes]) -> int:
    """Fill an empty file with an object, and return its CRC32C. Raise `NotFound`, `OSError` on a full disk."""
    if not size:
        return crc32c(b"")
    if hasattr(os, "posix_fallocate"):  # on a full disk a mapped file without reserved room ends the process by SIGBUS
        os.posix_fallocate(file.fileno(), 0, size)
    else:  # macOS
        file.truncate(size)
    with mmap.mmap(file.fileno(), size) as mapped, memoryview(mapped) as view:
        store.read_into(name, view, generation=generation)
        return crc32c(view)
