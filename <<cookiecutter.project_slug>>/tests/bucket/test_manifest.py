"""Manifests: read back exactly, or refused with a reason."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucket import layout, manifest
from bucket.manifest import FORMAT, DataObject, Manifest, NewerFormat, Part
from bucket.store import ABSENT, Damaged, NotFound, Store

NUMBERS = st.integers(0, 2**62)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.none() | st.text() | NUMBERS | FLOATS
MANIFESTS = st.builds(
    Manifest,
    run=st.text(),
    attempt=st.text(),
    start=NUMBERS,
    step=NUMBERS,
    total_steps=NUMBERS,
    epoch=NUMBERS,
    steps_per_second=FLOATS,
    compute_seconds=FLOATS,
    metrics=st.dictionaries(st.text(), FLOATS),
    score=st.none() | FLOATS,
    time=st.text(),
    config=st.dictionaries(st.text(), VALUES),
    data=st.lists(
        st.builds(DataObject, uri=st.text(), size=NUMBERS, crc32c=NUMBERS, generation=NUMBERS), max_size=2
    ).map(tuple),
    parts=st.lists(st.builds(Part, name=st.text(), size=NUMBERS, crc32c=NUMBERS, generation=NUMBERS), max_size=2).map(
        tuple
    ),
)
EXAMPLE = Manifest(
    run="run",
    attempt="a",
    start=1,
    step=7,
    total_steps=70,
    epoch=0,
    steps_per_second=2.5,
    compute_seconds=2.8,
    metrics={"accuracy": 0.5},
    score=0.5,
    time="2026-01-01T00:00:00+00:00",
    config={"seed": 0, "max-steps": None},
    data=(DataObject(uri="digits", size=1, crc32c=2, generation=0),),
    parts=(Part(name="run/data/0000000007/a.1.1/part-00000", size=3, crc32c=4, generation=5),),
)


def text_with(**changes: Any) -> bytes:
    return json.dumps({**json.loads(EXAMPLE.to_json()), **changes}).encode()


@given(MANIFESTS)
def test_a_manifest_is_read_back_exactly(written: Manifest) -> None:
    assert Manifest.from_json(written.to_json(), "name") == written


@given(
    st.binary()
    | st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_nonsense_is_refused(text: bytes) -> None:
    with pytest.raises((Damaged, NewerFormat), match=r"^gs://b/m (is not a manifest|has format)"):
        Manifest.from_json(text, "gs://b/m")


@given(st.data())
def test_a_truncated_manifest_is_damage(draw: st.DataObject) -> None:
    whole = EXAMPLE.to_json()
    with pytest.raises(Damaged):
        Manifest.from_json(whole[: draw.draw(st.integers(0, len(whole) - 1))], "name")


@pytest.mark.parametrize("field", [field for field in json.loads(EXAMPLE.to_json()) if field != "format"])
def test_a_value_of_another_type_is_damage(field: str) -> None:
    original = json.loads(EXAMPLE.to_json())[field]
    values: list[object] = [True, [[]], "text", 0.5, {"a": 1}]
    for value in values:
        if not isinstance(original, type(value)):
            with pytest.raises(Damaged, match="name is not a manifest"):
                Manifest.from_json(text_with(**{field: value}), "name")


@pytest.mark.parametrize("field", list(json.loads(EXAMPLE.to_json())))
def test_a_missing_field_is_damage(field: str) -> None:
    values = json.loads(EXAMPLE.to_json())
    del values[field]
    with pytest.raises(Damaged, match=field):
        Manifest.from_json(json.dumps(values).encode(), "name")


@pytest.mark.parametrize("more", [{"unknown": 1}, {"parts": [{"name": "a"}]}, {"data": [None]}, {"parts": None}])
def test_what_does_not_belong_is_damage(more: dict[str, Any]) -> None:
    with pytest.raises(Damaged):
        Manifest.from_json(text_with(**more), "name")


def test_a_newer_format_is_no_damage_whatever_else_it_holds() -> None:
    with pytest.raises(NewerFormat, match=f"name has format {FORMAT + 1}, this program reads up to {FORMAT}"):
        Manifest.from_json(json.dumps({"format": FORMAT + 1, "all": "different"}).encode(), "name")


def test_the_fingerprint_is_of_the_state_and_not_of_who_wrote_it_when_and_where() -> None:
    part = EXAMPLE.parts[0]
    same = replace(
        EXAMPLE,
        attempt="b",
        start=2,
        time="later",
        compute_seconds=9.0,
        steps_per_second=1.0,
        parts=(replace(part, name="elsewhere", generation=6),),
    )
    assert same.fingerprint == EXAMPLE.fingerprint
    for other in (
        replace(EXAMPLE, step=8),
        replace(EXAMPLE, config={"seed": 1}),
        replace(EXAMPLE, data=()),
        replace(EXAMPLE, parts=(replace(part, crc32c=5),)),
        replace(EXAMPLE, parts=(part, part)),
    ):
        assert other.fingerprint != EXAMPLE.fingerprint


def put(store: Store, step: int, text: bytes) -> None:
    store.write(layout.manifest("run", step), text, if_generation=ABSENT)


def test_steps_are_those_of_one_runs_manifests_newest_first(store: Store) -> None:
    for step in (5, 100, 20):
        put(store, step, b"")
    store.write(layout.manifest("run-2", 7), b"", if_generation=ABSENT)
    store.write(layout.manifests("run") + "notes.txt", b"", if_generation=ABSENT)
    store.write(layout.set_aside("run", 300, 1), b"", if_generation=ABSENT)
    assert manifest.steps(store, "run") == [100, 20, 5]
    assert manifest.steps(store, "none") == []


def test_the_newest_readable_manifest_tells_where_training_stands(store: Store) -> None:
    assert manifest.newest(store, "run") is None
    put(store, 6, replace(EXAMPLE, step=6).to_json())
    put(store, 7, EXAMPLE.to_json())
    put(store, 8, b"nonsense")
    put(store, 9, EXAMPLE.to_json()[:-9])
    assert manifest.newest(store, "run") == EXAMPLE


def test_a_newer_programs_manifest_is_never_passed_over(store: Store) -> None:
    """An older image would train on from an older step, and prune the newer one's work."""
    put(store, 7, EXAMPLE.to_json())
    put(store, 8, text_with(format=FORMAT + 1))
    with pytest.raises(NewerFormat):
        manifest.newest(store, "run")


def test_reading_a_manifest_that_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        manifest.read(store, "run", 7)
