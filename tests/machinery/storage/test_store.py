"""Test the contract of `Store` on each store."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from spot.storage.base import ABSENT, Cancelled, Conflict, Damaged, NotFound, Object, Store, Written
from spot.storage.checksum import CHUNK, crc32c
from spot.storage.factory import open_object, open_store

NAMES = [
    "plain",
    "a/very/deep/one/of/many/parts",
    "with space",
    "#?%&+=;,:@",
    "%2F%20",
    "*[x]{y}",
    "quotes'\"and\\backslash",
    ".hidden/..two",
    "größe/数/🙂",
    "e\u0301 is not é",
    "n" * 200,
]
NO_NAMES = ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\nb", "a\0b", "\ud800"]


@pytest.mark.parametrize("name", NAMES)
def test_any_printable_name_can_be_written_read_listed_and_deleted(store: Store, name: str) -> None:
    written = store.write(name, b"content", if_generation=ABSENT)
    assert store.read(name) == Object(data=b"content", generation=written.generation)
    view = memoryview(bytearray(7))
    store.read_into(name, view, generation=written.generation)
    assert bytes(view) == b"content"
    assert [entry.name for entry in store.list("")] == [entry.name for entry in store.list(name)] == [name]
    store.delete(name)
    assert store.list("") == []


@pytest.mark.parametrize("name", NO_NAMES)
def test_other_names_are_refused_and_never_listed(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not an object name"):
        store.write(name, b"", if_generation=ABSENT)
    with pytest.raises(ValueError, match="not an object name"):
        store.read(name)
    with pytest.raises(ValueError, match="not an object name"):
        store.read_into(name, memoryview(b""), generation=1)
    with pytest.raises(ValueError, match="not an object name"):
        store.delete(name)


def test_names_that_differ_only_in_composition_are_different_objects(store: Store) -> None:
    store.write("é", b"composed", if_generation=ABSENT)
    store.write("e\u0301", b"decomposed", if_generation=ABSENT)
    assert store.read("é").data == b"composed"


def test_a_write_says_what_it_left(store: Store) -> None:
    written = store.write("a", b"123456789", if_generation=ABSENT)
    assert written == Written(generation=written.generation, size=9, crc32c=0xE3069283)
    assert written.generation > ABSENT
    assert [(entry.size, entry.generation) for entry in store.list("")] == [(9, written.generation)]


def test_a_second_create_is_a_conflict_and_changes_nothing(store: Store) -> None:
    first = store.write("a", b"first", if_generation=ABSENT)
    with pytest.raises(Conflict, match="a: it has another generation"):
        store.write("a", b"second", if_generation=ABSENT)
    assert store.read("a") == Object(data=b"first", generation=first.generation)


def test_a_write_takes_the_place_of_exactly_the_generation_it_names(store: Store) -> None:
    first = store.write("a", b"1", if_generation=ABSENT)
    second = store.write("a", b"2", if_generation=first.generation)
    assert second.generation > first.generation
    with pytest.raises(Conflict):
        store.write("a", b"3", if_generation=first.generation)
    assert store.read("a") == Object(data=b"2", generation=second.generation)


def test_replacing_what_does_not_exist_is_a_conflict(store: Store) -> None:
    with pytest.raises(Conflict):
        store.write("a", b"1", if_generation=12345)
    assert store.list("") == []


def test_generations_grow_through_deletion(store: Store) -> None:
    found = [0]
    for content in (b"1", b"1", b"2"):
        found.append(store.write("a", content, if_generation=ABSENT).generation)
        store.delete("a")
    assert found == sorted(set(found))


def test_what_does_not_exist_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="nothing/here"):
        store.read("nothing/here")
    with pytest.raises(NotFound, match="nothing/here"):
        store.read_into("nothing/here", memoryview(bytearray(1)), generation=1)


def test_deleting_twice_is_no_error(store: Store) -> None:
    store.delete("never/was")
    store.write("a/b", b"", if_generation=ABSENT)
    store.delete("a/b")
    store.delete("a/b")
    assert store.list("") == []


def test_reading_another_generation_is_not_found(store: Store) -> None:
    first = store.write("a", b"old", if_generation=ABSENT)
    store.write("a", b"new", if_generation=first.generation)
    for generation in (first.generation, 1):
        with pytest.raises(NotFound, match="a"):
            store.read_into("a", memoryview(bytearray(3)), generation=generation)


@pytest.mark.parametrize("size", [0, 2, 4, 10_000_000])
def test_reading_into_another_size_is_damage(store: Store, size: int) -> None:
    written = store.write("a", b"123", if_generation=ABSENT)
    with pytest.raises(Damaged, match="has 3 bytes, expected"):
        store.read_into("a", memoryview(bytearray(size)), generation=written.generation)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_every_size_arrives_whole(store: Store, size: int) -> None:
    data = random.Random(size).randbytes(size)
    written = store.write("a/b", data, if_generation=ABSENT)
    assert (written.size, written.crc32c) == (size, crc32c(data))
    assert store.read("a/b").data == data
    view = memoryview(bytearray(size))
    store.read_into("a/b", view, generation=written.generation)
    assert bytes(view) == data


def test_a_view_in_the_middle_of_a_writable_buffer_is_written_from_where_it_lies(store: Store) -> None:
    buffer = bytearray(random.Random(0).randbytes(3 * CHUNK))
    view = memoryview(buffer)[5 : 2 * CHUNK + 5]
    assert store.write("a", view, if_generation=ABSENT).crc32c == crc32c(bytes(view))
    assert store.read("a").data == view


def test_a_listing_is_sorted_and_takes_prefixes_literally(store: Store) -> None:
    names = ["a", "a-b/c", "b/1", "b/10", "b/2", "b/2-x/y", "b/c/d", "bc", "ü"]
    for name in reversed(names):
        store.write(name, name.encode(), if_generation=ABSENT)
    assert [entry.name for entry in store.list("")] == names
    for prefix in ("b", "b/", "b/1", "b/2", "b/c/", "b/c/d", "a-", "a/", "a-b/c/", "c", "*", "b/../", "/", "//", "../"):
        assert [entry.name for entry in store.list(prefix)] == [name for name in names if name.startswith(prefix)]
    assert [entry.size for entry in store.list("b/1")] == [3, 4]


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert store.list("") == store.list("a") == store.list("a/b/") == []


@pytest.mark.parametrize("chunks_before", [0, 2])
def test_a_withdrawn_write_leaves_nothing(store: Store, chunks_before: int) -> None:
    asked = iter(range(1000))
    with pytest.raises(Cancelled):
        store.write("a/b", bytes(4 * CHUNK), if_generation=ABSENT, cancelled=lambda: next(asked) >= chunks_before)
    assert store.list("") == []
    store.write("a/b", b"another", if_generation=ABSENT)


def test_a_withdrawn_replacement_leaves_the_old_object(store: Store) -> None:
    first = store.write("a", b"old", if_generation=ABSENT)
    with pytest.raises(Cancelled):
        store.write("a", bytes(CHUNK), if_generation=first.generation, cancelled=lambda: True)
    assert store.read("a") == Object(data=b"old", generation=first.generation)


def test_stores_at_two_uris_share_nothing_unless_one_holds_the_other(uri: str) -> None:
    inner = open_store(f"{uri}/inner")
    inner.write("a", b"1", if_generation=ABSENT)
    assert [entry.name for entry in open_store(uri).list("")] == ["inner/a"]
    assert open_store(f"{uri}/inn").list("") == open_store(f"{uri}/other").list("") == []


def test_one_object_has_a_uri_too(uri: str) -> None:
    open_store(uri).write("data/file.bin", b"1", if_generation=ABSENT)
    store, name = open_object(f"{uri}/data/file.bin")
    assert (store.uri, name) == (f"{uri}/data", "file.bin")
    assert store.read(name).data == b"1"


@pytest.mark.parametrize("uri", ["s3://bucket/prefix", "https://example.com", "file:///tmp"])
def test_a_uri_of_another_kind_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="neither a gs:// URI nor a local path"):
        open_store(uri)


@pytest.mark.parametrize("uri", ["gs://", "gs:///prefix", "gs://bucket//prefix", "gs://bucket/a//b", "gs://bucket/a\n"])
def test_a_uri_without_a_bucket_or_with_an_empty_part_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="expected gs://bucket/prefix"):
        open_store(uri)


@pytest.mark.parametrize("uri", ["gs://bucket", "gs://bucket/", "gs://bucket/folder/"])
def test_a_uri_of_no_object_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="names no object"):
        open_object(uri)


def test_the_mount_of_a_bucket_is_refused_with_what_to_use_instead() -> None:
    with pytest.raises(ValueError, match="use 'gs://bucket/runs'"):
        open_store("/gcs/bucket/runs")


def test_an_object_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.bin").write_bytes(b"here")
    store, name = open_object("file.bin")
    assert store.read(name).data == b"here"
