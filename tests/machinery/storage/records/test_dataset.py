"""Test that a URI names the objects that a user expects, and that a record is named by what it pins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spot.storage.base import ABSENT, Store
from spot.storage.factory import open_store
from spot.storage.records import dataset

NAMES = ("a.parquet", "b.csv", "more/c.parquet", "more/deep/d.parquet")


@pytest.fixture
def table(gs_uri: str) -> Store:
    """Return a folder with four objects, beside one whose name begins alike."""
    open_store(gs_uri).write("table2/e.parquet", b"e", if_generation=ABSENT)
    store = open_store(f"{gs_uri}/table")
    for name in NAMES:
        store.write(name, name.encode(), if_generation=ABSENT)
    return store


@pytest.mark.parametrize(
    ("below", "names"),
    [
        ("/", NAMES),
        ("/a.parquet", NAMES[:1]),
        ("/*.parquet", NAMES[:1]),
        ("/*/*.parquet", NAMES[2:3]),
        ("/**.parquet", (NAMES[0], *NAMES[2:])),
        ("/mo*/", NAMES[2:]),
        ("/more/**", NAMES[2:]),
    ],
)
def test_a_uri_names_an_object_a_prefix_or_a_pattern(table: Store, below: str, names: tuple[str, ...]) -> None:
    found, newest = dataset.find(f"{table.uri}{below}")
    assert tuple(one.uri.removeprefix(f"{table.uri}/") for one in found.objects) == names
    assert found.folder == f"{table.uri}{'/more' if below == '/more/**' else ''}"
    assert newest
    assert datetime.now(UTC) - newest < timedelta(minutes=10)


@pytest.mark.parametrize("below", ["", "/a", "/*.txt", "/none/"])
def test_a_uri_that_names_nothing_is_an_error(table: Store, below: str) -> None:
    with pytest.raises(ValueError, match=r"does not exist|no objects"):
        dataset.find(f"{table.uri}{below}")


@pytest.mark.parametrize("uri", ["gs://bucket", "gs://", "gs://*/data", "s3://bucket/data"])
def test_a_uri_without_a_bucket_and_an_object_is_an_error(uri: str) -> None:
    with pytest.raises(ValueError, match=r"names no object|neither a gs:// URI"):
        dataset.find(uri)


def test_the_same_bytes_written_again_are_another_record_with_the_same_content(table: Store) -> None:
    before, _ = dataset.find(f"{table.uri}/")
    again = table.write("a.parquet", b"a.parquet", if_generation=table.read("a.parquet").generation)
    same, _ = dataset.find(f"{table.uri}/")
    assert same.objects[0].generation == again.generation
    assert (same.name != before.name, same.content == before.content) == (True, True)
    table.write("a.parquet", b"A.parquet", if_generation=again.generation)
    assert dataset.find(f"{table.uri}/")[0].content != before.content


def test_the_same_objects_are_recorded_once_and_read_back(table: Store, gs_uri: str) -> None:
    found, root = dataset.find(f"{table.uri}/")[0], open_store(gs_uri)
    dataset.write(root, found)
    generation = root.read(found.name).generation
    dataset.write(root, found)
    assert root.read(found.name).generation == generation
    assert dataset.is_record(f"{gs_uri}/{found.name}")
    assert dataset.read(f"{gs_uri}/{found.name}") == found
    assert found.size == sum(map(len, NAMES))


def test_a_local_folder_is_a_prefix(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    found, newest = dataset.find(str(tmp_path))
    assert ([one.uri for one in found.objects], newest) == ([f"{tmp_path}/file"], None)
