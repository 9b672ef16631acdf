"""Test that manifests are read back exactly, or refused with a reason."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core.fields import ID
from spot.storage import paths
from spot.storage.base import ABSENT, Damaged, NewerFormat, NotFound, Store
from spot.storage.paths import Commit
from spot.storage.records import codec, manifest
from spot.storage.records.manifest import FORMAT, QUARANTINED, DataObject, Manifest, Part
from tests.machinery import samples

IDS = st.from_regex(ID, fullmatch=True)
COUNTS, SIZES, CHECKSUMS = st.integers(0, 10**10 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
QUANTITIES = st.floats(0, 1e9)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.none() | TEXT | SIZES | FLOATS
PARTS = st.builds(Part, name=TEXT, size=SIZES, crc32c=CHECKSUMS, generation=SIZES)
MANIFESTS = st.builds(
    Manifest,
    run=IDS,
    attempt=IDS,
    start=COUNTS,
    token=COUNTS,
    from_step=COUNTS,
    from_token=COUNTS,
    step=COUNTS,
    total_steps=COUNTS,
    epoch=COUNTS,
    steps_per_second=QUANTITIES,
    compute_seconds=QUANTITIES,
    evaluation_seconds=QUANTITIES,
    longest_evaluation_seconds=QUANTITIES,
    evaluations_left=COUNTS,
    saving_seconds=QUANTITIES,
    save_seconds=QUANTITIES,
    interval_seconds=QUANTITIES,
    metrics=st.dictionaries(TEXT, FLOATS, max_size=2),
    score=st.none() | FLOATS,
    time=st.datetimes(datetime(2000, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    config=st.dictionaries(TEXT, VALUES, max_size=2),
    data=st.lists(st.builds(DataObject, uri=TEXT, size=SIZES, crc32c=CHECKSUMS, generation=SIZES), max_size=2).map(
        tuple
    ),
    shards=st.lists(st.lists(PARTS, max_size=2).map(tuple), max_size=2).map(tuple),
)
EXAMPLE = samples.manifest(
    attempt="a",
    step=7,
    total_steps=70,
    steps_per_second=2.5,
    compute_seconds=2.8,
    saving_seconds=0.1,
    metrics={"accuracy": 0.5},
    score=0.5,
    config={"seed": 0, "max-steps": None},
    data=(DataObject(uri="digits", size=1, crc32c=2, generation=0),),
    shards=((Part(name="run/data/0000000007/a.1.1-r0/part-00000", size=3, crc32c=4, generation=5),),),
)


def decoded(text: bytes, name: str = "name") -> Manifest:
    return codec.decode(Manifest, text, name, "a manifest", QUARANTINED, FORMAT)


def text_with(**changes: Any) -> bytes:
    return json.dumps({**json.loads(EXAMPLE.to_json()), **changes}).encode()


@given(MANIFESTS)
def test_a_manifest_is_read_back_exactly(written: Manifest) -> None:
    assert decoded(written.to_json()) == written


@given(
    st.binary()
    | st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_nonsense_is_refused(text: bytes) -> None:
    with pytest.raises((Damaged, NewerFormat), match=r"^gs://b/m (is not a manifest|has format)"):
        decoded(text, "gs://b/m")


@given(st.data())
def test_a_truncated_manifest_is_damage(draw: st.DataObject) -> None:
    whole = EXAMPLE.to_json()
    with pytest.raises(Damaged):
        decoded(whole[: draw.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.parametrize("field", [field for field in json.loads(EXAMPLE.to_json()) if field != "format"])
def test_a_value_of_another_type_is_damage(field: str) -> None:
    original = json.loads(EXAMPLE.to_json())[field]
    values: list[object] = [True, [[]], "text", 0.5, {"a": 1}]
    for value in values:
        if not isinstance(original, type(value)):
            with pytest.raises(Damaged, match="name is not a manifest"):
                decoded(text_with(**{field: value}))


@pytest.mark.parametrize("field", list(json.loads(EXAMPLE.to_json())))
def test_a_missing_field_is_damage(field: str) -> None:
    values = json.loads(EXAMPLE.to_json())
    del values[field]
    with pytest.raises(Damaged, match=field):
        decoded(json.dumps(values).encode())


@pytest.mark.parametrize("more", [{"shards": [[{"name": "a"}]]}, {"shards": [{}]}, {"data": [None]}, {"shards": None}])
def test_what_does_not_belong_is_damage(more: dict[str, Any]) -> None:
    with pytest.raises(Damaged):
        decoded(text_with(**more))


def test_a_newer_format_is_never_damage() -> None:
    with pytest.raises(NewerFormat, match=f"name has format {FORMAT + 1}, this program reads up to {FORMAT}"):
        decoded(json.dumps({"format": FORMAT + 1, "all": "different"}).encode())


def at(step: int, token: int = 1, from_step: int = 0, from_token: int | None = None) -> Commit:
    """By default from the writer before, or from nothing."""
    before = token - 1 if from_step else 0
    return Commit(step=step, token=token, from_step=from_step, from_token=before if from_token is None else from_token)


def put(store: Store, step: int, text: bytes) -> None:
    store.write(paths.manifest("run", at(step)), text, if_generation=ABSENT)


def test_commits_are_those_of_one_runs_manifests_newest_first(store: Store) -> None:
    for step in (5, 100, 20):
        put(store, step, b"")
    store.write(paths.manifest("run-2", at(7)), b"", if_generation=ABSENT)
    store.write(paths.manifests("run") + "notes.txt", b"", if_generation=ABSENT)
    store.write(paths.quarantine("run", 300, 1), b"", if_generation=ABSENT)
    assert manifest.commits(store, "run") == [at(100), at(20), at(5)]
    assert manifest.commits(store, "none") == []


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([at(10), at(20)], [at(20), at(10)], id="all-of-one-writer"),
        pytest.param([at(10), at(20, 2, 10)], [at(20, 2, 10), at(10)], id="what-the-next-one-began-from"),
        pytest.param([at(10), at(15), at(20, 2, 10)], [at(20, 2, 10), at(10)], id="not-what-its-predecessor-added"),
        pytest.param([at(10), at(30), at(20, 2, 10)], [at(20, 2, 10), at(10)], id="however-far-that-came"),
        pytest.param([at(10), at(15)], [at(15), at(10)], id="until-the-next-one-has-committed"),
        pytest.param([at(10), at(20, 2, 0)], [at(20, 2, 0)], id="nothing-before-one-that-began-anew"),
        pytest.param(
            [at(15), at(12, 2, 10), at(20, 3, 15, 1)], [at(20, 3, 15, 1), at(15)], id="none-of-a-writer-passed-over"
        ),
        pytest.param([at(5), at(20, 3, 15)], [at(20, 3, 15), at(5)], id="also-if-that-beginning-was-pruned"),
    ],
)
def test_what_the_newest_writer_committed_counts_and_what_that_began_from(
    found: list[Commit], expected: list[Commit]
) -> None:
    for order in (found, found[::-1]):
        assert manifest.committed_lineage(order) == expected


EVENTS = st.lists(st.none() | st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=20)
"""None: another writer takes the lease. Otherwise one that has or had it goes on by so many steps, and commits."""


@given(EVENTS, st.randoms(use_true_random=False))
def test_the_committed_checkpoints_are_one_lineage_even_if_every_writer_continues_without_its_lease(
    events: list[tuple[int, int] | None], chance: Random
) -> None:
    found: list[Commit] = []
    ways: dict[Commit, list[Commit]] = {at(0, 0): []}  # to each checkpoint, itself first
    writers: list[list[Commit]] = []  # what each began from, and its own
    for event in (None, *events):
        if event is None:
            writers.append([next(iter(manifest.committed_lineage(found)), at(0, 0))])
            continue
        token = event[0] % len(writers) + 1
        began, newest = writers[token - 1][0], writers[token - 1][-1]
        commit = at(newest.step + event[1], token, began.step, began.token)
        ways[commit] = [commit, *ways[newest]]
        writers[token - 1].append(commit)
        found.append(commit)
        chance.shuffle(found)
        assert manifest.committed_lineage(found) == ways[max(found, key=lambda one: (one.token, one.step))]


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
        manifest.read(store, "run", at(7))
