"""Test that a run trains on its submitted data."""

from __future__ import annotations

from pathlib import Path

import pytest

from spot.core.errors import TemporarilyUnavailable
from spot.storage.base import ABSENT
from spot.storage.factory import open_store
from spot.storage.records import dataset
from spot.storage.records.dataset import Dataset
from spot.trainer.data import pinned
from spot.trainer.data.pinned import read_pinned
from spot.trainer.runtime.errors import UsageError


def pin(root: str, uri: str) -> str:
    """Pin the objects that a URI names now, as `spot submit` does, and return the URI of the record."""
    found, _ = dataset.find(uri)
    return recorded(root, found)


def recorded(root: str, found: Dataset) -> str:
    dataset.write(open_store(root), found)
    return f"{root}/{found.name}"


def test_the_pinned_generation_is_read_and_named(gs_uri: str) -> None:
    written = open_store(gs_uri).write("data", b"first", if_generation=ABSENT)
    content, one = read_pinned(pin(gs_uri, f"{gs_uri}/data"))
    assert (content, one.uri, one.generation) == (b"first", f"{gs_uri}/data", written.generation)


def test_data_overwritten_since_submit_are_refused(gs_uri: str) -> None:
    store = open_store(gs_uri)
    first = store.write("data", b"first", if_generation=ABSENT)
    uri = pin(gs_uri, f"{gs_uri}/data")
    store.write("data", b"other", if_generation=first.generation)
    with pytest.raises(UsageError, match=f"{gs_uri}/data: it was overwritten .*generation {first.generation} is gone"):
        read_pinned(uri)


def test_several_objects_are_not_read_as_one(gs_uri: str) -> None:
    for name in ("data/1", "data/2"):
        open_store(gs_uri).write(name, b"x", if_generation=ABSENT)
    with pytest.raises(UsageError, match="data/: it names 2 objects, expected one"):
        read_pinned(pin(gs_uri, f"{gs_uri}/data/"))


def test_a_record_that_was_changed_is_refused(gs_uri: str) -> None:
    store = open_store(gs_uri)
    store.write("data", b"first", if_generation=ABSENT)
    uri = pin(gs_uri, f"{gs_uri}/data")
    name = uri.removeprefix(f"{gs_uri}/")
    found = store.read(name)
    store.write(name, found.data.replace(b"/data", b"/else"), if_generation=found.generation)
    with pytest.raises(UsageError, match="was changed after it was written: submit another run"):
        read_pinned(uri)
    store.delete(name)
    with pytest.raises(UsageError, match=r"datasets/.*: it does not exist"):
        read_pinned(uri)


def test_data_that_arrive_damaged_are_not_used(gs_uri: str) -> None:
    open_store(gs_uri).write("data", b"first", if_generation=ABSENT)
    _, one = read_pinned(f"{gs_uri}/data")
    with pytest.raises(TemporarilyUnavailable, match="arrived with CRC32C 7"):
        pinned.check(one, 7)


def test_without_a_record_the_newest_generation_is_read(gs_uri: str) -> None:
    written = open_store(gs_uri).write("data", b"content", if_generation=ABSENT)
    assert read_pinned(f"{gs_uri}/data")[1].generation == written.generation


def test_a_local_file_name_may_contain_a_hash_sign(tmp_path: Path) -> None:
    (tmp_path / "data#12").write_bytes(b"content")
    assert read_pinned(str(tmp_path / "data#12"))[0] == b"content"
