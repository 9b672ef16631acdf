"""Compute CRC32C, the checksum that Cloud Storage keeps of every object."""

import google_crc32c

CHUNK = 1 << 20


def crc32c(data: bytes | memoryview, crc: int = 0) -> int:
    """Return the CRC32C of `data`, continued from `crc`.

    The C library rejects memoryviews and holds the GIL during a call. Read-only numpy arrays of 1 MiB avoid a copy
    and let other threads run.
    """
    if isinstance(data, bytes):
        return int(google_crc32c.extend(crc, data))
    import numpy as np  # the supervisor reads small objects only and needs no numpy

    array = np.frombuffer(data, dtype=np.uint8)
    array.flags.writeable = False
    for offset in range(0, len(array), CHUNK):
        crc = int(google_crc32c.extend(crc, array[offset : offset + CHUNK]))
    return crc
