"""Test that data are checked before they cost money, and that only a run that repeats the last one says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from spot.config.settings import DataSettings
from spot.core.run import Run
from spot.storage.records.dataset import Dataset
from spot.storage.records.manifest import DataObject
from spot.supervisor.data_checks import FoundData, repeats
from tests.machinery import samples
from tests.machinery.desk import WEEKLY, Desk
from tests.machinery.samples import T0, after

SOURCES = "5" * 64
URI = "gs://bucket/data/"


def of(*sizes: int, generation: int = 1, first: int = 0) -> Dataset:
    """Return a data set of objects with these sizes; the checksum of each is its size."""
    objects = [
        DataObject(uri=f"{URI}{number}", size=size, crc32c=size, generation=generation)
        for number, size in enumerate(sizes, first)
    ]
    return Dataset(uri=URI, objects=tuple(objects))


def findings(found: FoundData, **limits: Any) -> list[str]:
    return found.findings(DataSettings(**limits), after(hours=30))


def test_data_within_all_limits_have_no_findings() -> None:
    found = FoundData(dataset=of(60, 40), newest=T0, last_run="weekly-1", last=of(200))
    assert findings(found, min_objects=2, min_bytes=100, max_age_hours=30) == []


def test_each_limit_is_a_finding_with_the_numbers() -> None:
    found = FoundData(dataset=of(60, 39), newest=T0, last_run="weekly-1", last=of(200))
    assert findings(found, min_objects=3, min_bytes=100, max_age_hours=29.5) == [
        f"{URI} has 2 objects, and data.min_objects is 3",
        f"{URI} has 99 bytes, and data.min_bytes is 100",
        f"the newest object of {URI} is 30.0 h old, written 2026-11-24 00:00 UTC, and data.max_age_hours is 29.5",
        f"{URI} has 99 bytes, 49.5 % of the 200 bytes of run weekly-1, and data.min_share_of_last_run is 0.5",
    ]


def test_data_are_unchanged_if_the_last_run_read_the_same_bytes() -> None:
    found = FoundData(dataset=of(1, 2, 3, generation=2), newest=T0, last_run="weekly-1", last=of(9, 2, 9, first=-1))
    assert not found.is_unchanged
    assert replace(found, last=of(1, 2, 3)).is_unchanged


def scheduled(**changes: Any) -> Run:
    return samples.run(**{"sources": SOURCES, **changes})


@pytest.mark.parametrize(
    ("changes", "now", "is_repeated"),
    [
        ({}, of(1, 2), True),
        ({}, of(1, 2, generation=2), True),
        ({}, of(1, 3), False),
        ({}, of(1, 2, first=1), False),
        ({"sources": "6" * 64}, of(1, 2), False),
        ({"sources": None}, of(1, 2), False),
        ({"arguments": ("--epochs", "21")}, of(1, 2), False),
        ({"machine": replace(samples.SPEC.machine, count=2)}, of(1, 2), False),
        ({"image": f"{samples.SPEC.image[:-1]}9", "deadline": after(hours=99), "work": timedelta(1)}, of(1, 2), True),
    ],
    ids=["equal", "same bytes again", "content", "names", "sources", "unknown", "configuration", "machine", "others"],
)
def test_a_run_repeats_the_last_one_only_if_all_four_are_equal(
    changes: dict[str, Any], now: Dataset, is_repeated: bool
) -> None:
    found = FoundData(dataset=now, newest=None, last_run="weekly-1", last=of(1, 2))
    before = scheduled(id="weekly-1", submitted_at=T0)
    assert repeats(scheduled(**changes), [before], found) == ("weekly-1" if is_repeated else None)


def test_only_the_last_succeeded_run_counts() -> None:
    found = FoundData(dataset=of(1), newest=None, last=of(1))
    assert repeats(scheduled(), [], found) is None
    assert repeats(scheduled(), [scheduled(arguments=()), scheduled()], found) is None
    assert repeats(scheduled(), [scheduled(sources=None)], found) is None
    assert repeats(scheduled(sources=None), [scheduled(sources=None)], found) is None
    assert repeats(scheduled(), [scheduled()], None)
    assert repeats(scheduled(), [scheduled()], FoundData(dataset=of(1), newest=None)) is None


def trained(desk: Desk, *objects: bytes) -> str:
    """Complete a run on objects below a prefix, which becomes `training.data`."""
    uri = f"{desk.root}/data/"
    desk.settings({"training.data": f'"{uri}"'})
    for number, content in enumerate(objects):
        desk.put(f"data/{number}", content)
    desk.submit(WEEKLY)
    desk.complete(WEEKLY)
    assert desk.spot("reconcile", WEEKLY).code == 0
    return uri


def test_shrunken_data_are_refused_with_the_numbers_unless_forced(desk: Desk) -> None:
    uri = trained(desk, b"x" * 60, b"y" * 40)
    desk.store().delete("data/0")
    said = desk.spot("submit", "--dry-run")
    line = f"{uri} has 40 bytes, 40.0 % of the 100 bytes of run {WEEKLY}, and data.min_share_of_last_run is 0.5"
    assert (said.code, said.err) == (2, f"spot: {line}. --force overrides this check\n")
    assert line in " ".join(desk.spot("submit", "--dry-run", "--force").out.split())
    desk.settings({"data.min_share_of_last_run": "0.4"})
    assert desk.spot("submit", "--dry-run").code == 0


def test_data_show_what_is_pinned_and_whether_the_last_run_had_the_same(desk: Desk) -> None:
    uri = trained(desk, b"x" * 60, b"y" * 40)
    same = desk.spot("data")
    assert (same.code, f"{WEEKLY}, the same content" in same.out) == (0, True)
    desk.store().delete("data/0")
    desk.put("data/2", b"z")
    desk.settings({"data.min_objects": "3"})
    found = desk.spot("data", "--json")
    assert (found.code, found.json["bytes"], found.json["last_run"]) == (2, 41, WEEKLY)
    assert found.json["is_unchanged"] is False
    assert [line.rpartition(" is ")[0] for line in found.json["findings"]] == [
        f"{uri} has 2 objects, and data.min_objects",
        f"{uri} has 41 bytes, 41.0 % of the 100 bytes of run {WEEKLY}, and data.min_share_of_last_run",
    ]
    text = desk.spot("data").out
    assert all(one in text for one in ("2 objects, 0.0 MB, the newest of 20", "other content", "refused"))


def test_data_of_the_image_have_nothing_to_pin(desk: Desk) -> None:
    assert desk.spot("data").out.startswith("training.data is the sample in the image")
    assert desk.spot("data", "--json").json["uri"] is None
