"""CRC32C, the checksum that Cloud Storage keeps of every object."""

from __future__ import annotations

import google_crc32c

CHUNK = 1 << 20


def crc32c(data: bytes | memoryview, crc: int = 0) -> int:
    """The CRC32C of `data`, going on from `crc`.

    The C library takes only objects that own their memory and holds the GIL for a call: a view is fed to it as
    read-only numpy arrays of 1 MiB, which neither copies nor blocks the process's other threads for long.
    """
    if isinstance(data, bytes):
        return int(google_crc32c.extend(crc, data))
    import numpy as np  # the supervisor reads small objects only and needs no numpy

    array = np.frombuffer(data, dtype=np.uint8)
    array.flags.writeable = False
    for offset in range(0, len(array), CHUNK):
        crc = int(google_crc32c.extend(crc, array[offset : offset + CHUNK]))
    return crc
