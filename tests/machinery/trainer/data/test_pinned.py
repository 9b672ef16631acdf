"""Test that a run trains on its submitted data."""

from __future__ import annotations

from pathlib import Path

import pytest

from spot.storage.base import ABSENT
from spot.storage.factory import open_store
from spot.trainer.data.pinned import read_pinned
from spot.trainer.runtime.errors import UsageError


def test_a_generation_in_the_uri_is_read_and_pinned(gs_uri: str) -> None:
    written = open_store(gs_uri).write("data", b"first", if_generation=ABSENT)
    content, pin = read_pinned(f"{gs_uri}/data#{written.generation}")
    assert (content, pin.uri, pin.generation) == (b"first", f"{gs_uri}/data", written.generation)


def test_data_overwritten_since_submit_is_refused_with_both_generations(gs_uri: str) -> None:
    store = open_store(gs_uri)
    first = store.write("data", b"first", if_generation=ABSENT)
    second = store.write("data", b"second", if_generation=first.generation)
    with pytest.raises(UsageError, match=f"#{first.generation}: .*has generation {second.generation}"):
        read_pinned(f"{gs_uri}/data#{first.generation}")


def test_without_a_generation_the_newest_is_read_and_pinned(gs_uri: str) -> None:
    written = open_store(gs_uri).write("data", b"content", if_generation=ABSENT)
    assert read_pinned(f"{gs_uri}/data")[1].generation == written.generation


def test_a_local_file_name_may_contain_a_hash_sign(tmp_path: Path) -> None:
    (tmp_path / "data#12").write_bytes(b"content")
    assert read_pinned(str(tmp_path / "data#12"))[0] == b"content"
