"""Test that the shaped server works with the real client library, at its stated speed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud import storage

from benchmarks.loopback import Loopback, wire_s
from benchmarks.pace import CATCH_UP_S, LATENCY_S, RATE
from benchmarks.shaped import KEEP, Server
from benchmarks.ways import BUCKET
from tests.benchmarks.test_pace import Clock

SMALL, LARGE = 100_000, 20_000_000
"""Below and above what the library sends in one request."""


@pytest.fixture
def bucket(server: Server) -> storage.Bucket:  # noqa: ARG001  # it must be up
    return storage.Client().get_bucket(BUCKET)  # else the library asks for it at some moment of its own


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
@pytest.mark.parametrize("chunk_size", [None, 5 << 20])
def test_what_the_library_uploads_it_downloads(
    bucket: storage.Bucket, tmp_path: Path, size: int, chunk_size: int | None
) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(size))
    bucket.blob("a/file", chunk_size=chunk_size).upload_from_filename(str(file))
    assert bucket.blob("a/file").download_as_bytes() == file.read_bytes()
    assert [(blob.name, blob.size) for blob in bucket.list_blobs(prefix="a/")] == [("a/file", size)]


def test_a_body_that_looks_like_its_own_boundary_arrives_whole(bucket: storage.Bucket) -> None:
    data = b"\r\n--" * 1000 + b"\r\n\r\n--\r\n"
    bucket.blob("it").upload_from_string(data)
    assert bucket.blob("it").download_as_bytes() == data


def test_an_object_is_created_once(bucket: storage.Bucket) -> None:
    bucket.blob("it").upload_from_string(b"first", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        bucket.blob("it").upload_from_string(b"second", if_generation_match=0)
    bucket.blob("it").delete()
    with pytest.raises(NotFound):
        bucket.blob("it").download_as_bytes()


@pytest.mark.parametrize(("size", "requests"), [(SMALL, 1), (LARGE, 2)])
def test_an_upload_takes_its_requests_and_its_bytes(
    bucket: storage.Bucket, clocks: list[Clock], size: int, requests: int
) -> None:
    before = sum(clock.now for clock in clocks)
    bucket.blob("it").upload_from_string(bytes(size))
    passed = sum(clock.now for clock in clocks) - before
    assert passed == pytest.approx(requests * LATENCY_S + size / RATE, abs=0.001)


def test_eight_streams_are_paced_one_by_one(server: Server, clocks: list[Clock]) -> None:
    wire_s(Loopback(server.url), 8 * LARGE)
    *streams, last = (clock.now - Clock().now for clock in clocks)
    assert streams == pytest.approx([LATENCY_S + LARGE / RATE] * 8, abs=2 * CATCH_UP_S)
    assert last < LATENCY_S + CATCH_UP_S


def test_a_large_body_is_measured_and_not_kept(server: Server, bucket: storage.Bucket) -> None:
    server.keep = KEEP
    bucket.blob("it").upload_from_string(bytes(KEEP + 1))
    stored = server.objects.get("it")
    assert stored
    assert (stored.content.size, stored.content.bytes) == (KEEP + 1, None)
