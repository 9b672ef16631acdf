"""Test the record that makes a run complete."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from spot.storage import paths
from spot.storage.base import ABSENT, Damaged
from spot.storage.records import completion
from tests.machinery.storage.completed import complete
from tests.machinery.storage.memory import MemoryStore

NAME = paths.output("run", paths.COMPLETION)
NOWHERE = {"generation": 7, "size": 17, "crc32c": 1}
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def test_a_record_is_read_as_it_was_written() -> None:
    store = MemoryStore()
    assert completion.read(store, "run") is None
    assert not completion.find(store, "run")
    complete(store, "run", NOON)
    found = completion.read(store, "run")
    assert found is not None
    assert (found.run, found.time) == ("run", NOON)
    assert found.objects[paths.MODEL].generation == store.read(paths.output("run", paths.MODEL)).generation
    assert completion.find(store, "run")


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"null", b"[]", b"{}", b"[" * 200_000, b'{"time": 7}', b'{"time": "noon"}'], ids=range(8)
)
def test_an_invalid_record_is_damaged_and_named(data: bytes) -> None:
    store = MemoryStore()
    store.write(NAME, data, if_generation=ABSENT)
    with pytest.raises(Damaged, match=f"{NAME} is not a completion record"):
        completion.read(store, "run")
    assert not completion.find(store, "run")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"run": "another"}, "is of run another"),
        ({"time": "9999-12-31T23:59:59+00:00"}, "not between 2000 and 2200"),
        ({"objects": {}}, "names no file of the model"),
        ({"objects": {paths.METRICS: NOWHERE}}, "names no file of the model"),
        ({"objects": {paths.MODEL: NOWHERE}}, "names no generation of 'metrics.json' that exists"),
    ],
)
def test_a_record_of_something_else_completes_no_run(changes: dict[str, Any], says: str) -> None:
    store = MemoryStore()
    complete(store, "run", NOON)
    found = store.read(NAME)
    text = json.dumps({**json.loads(found.data), **changes}).encode()
    store.write(NAME, text, if_generation=found.generation)
    with pytest.raises(Damaged, match=f"{NAME}.*{says}.*: move it away"):
        completion.read(store, "run")


@pytest.mark.parametrize("name", [paths.METRICS, paths.MODEL, "model/config.json", "../champion.json", "a\x1bb"])
def test_a_record_that_names_an_object_that_does_not_exist_completes_no_run(name: str) -> None:
    store = MemoryStore()
    complete(store, "run", NOON)
    found = store.read(NAME)
    values = json.loads(found.data)
    values["objects"][name] = NOWHERE
    store.write(NAME, json.dumps(values).encode(), if_generation=found.generation)
    with pytest.raises(Damaged, match=re.escape(f"names no generation of {name!a} that exists")):
        completion.read(store, "run")


def test_a_model_that_was_replaced_since_completes_no_run() -> None:
    store = MemoryStore()
    complete(store, "run", NOON)
    model = paths.output("run", paths.MODEL)
    store.write(model, b"another", if_generation=store.read(model).generation)
    with pytest.raises(Damaged, match=r"names no generation of 'model/model\.safetensors' that exists"):
        completion.read(store, "run")
