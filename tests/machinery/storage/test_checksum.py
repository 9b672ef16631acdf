"""Test CRC32C of bytes and memoryviews."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spot.storage.checksum import CHUNK, crc32c


def test_it_is_the_checksum_of_the_standard() -> None:
    """RFC 3720, appendix B.4."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(b"") == 0


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_views_bytes_and_pieces_agree(data: bytes, start: int, end: int) -> None:
    view = memoryview(bytearray(data))[start:end]
    assert crc32c(view) == crc32c(bytes(view))
    assert crc32c(data[end:], crc32c(data[:end])) == crc32c(data)


def test_a_view_of_several_chunks_is_one_checksum() -> None:
    data = bytes(range(256)) * (2 * CHUNK // 256) + b"and a rest"
    assert crc32c(memoryview(bytearray(data))) == crc32c(data)
