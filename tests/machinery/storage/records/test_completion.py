"""Test the record that makes a run complete."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from spot.storage import paths
from spot.storage.base import ABSENT, Damaged, Written
from spot.storage.records import completion
from tests.machinery.storage.memory import MemoryStore

NAME = paths.output("run", paths.COMPLETION)
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
MODEL = Written(generation=7, size=3, crc32c=9)


def test_a_record_is_read_as_it_was_written() -> None:
    store = MemoryStore()
    assert completion.read(store, "run") is None

    store.write(NAME, completion.encode("run", NOON, {"attempt": "a1"}, {paths.MODEL: MODEL}), if_generation=ABSENT)
    found = completion.read(store, "run")

    assert found is not None
    assert found.time == NOON
    assert found.values == {
        "format": 1,
        "run": "run",
        "time": NOON.isoformat(),
        "attempt": "a1",
        "objects": {paths.MODEL: {"generation": 7, "size": 3, "crc32c": 9}},
    }


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"null", b"[]", b"{}", b"[" * 200_000, b'{"time": 7}', b'{"time": "noon"}'], ids=range(8)
)
def test_an_invalid_record_is_damaged_and_named(data: bytes) -> None:
    store = MemoryStore()
    store.write(NAME, data, if_generation=ABSENT)
    with pytest.raises(Damaged, match=f"{NAME} is not a completion record"):
        completion.read(store, "run")
