"""The times of reconciles are kept by run, whoever writes last, and damage only loses them."""

from __future__ import annotations

import pytest

from spot.core.errors import TemporarilyUnavailable
from spot.storage.base import ABSENT, Object
from spot.storage.records import reconciles
from spot.storage.records.reconciles import MOST, NAME, Home, Reconcile
from tests.machinery.samples import after
from tests.machinery.storage.memory import MemoryStore


def at(minutes: float, home: Home = Home.LOCAL) -> Reconcile:
    return Reconcile(at=after(minutes=minutes), home=home)


def test_a_reconcile_is_kept_beside_those_of_other_runs() -> None:
    store = MemoryStore()
    assert reconciles.read(store) == {}
    reconciles.write(store, ["a", "b"], after(minutes=1), Home.GITHUB)
    reconciles.write(store, ["b"], after(minutes=2), Home.LOCAL)
    assert reconciles.read(store) == {"a": at(1, Home.GITHUB), "b": at(2)}


def test_of_two_that_write_at_once_the_later_time_stays() -> None:
    store = MemoryStore()
    store.before_next_write = lambda: reconciles.write(store, ["a", "b"], after(minutes=3), Home.GITHUB)
    reconciles.write(store, ["b", "c"], after(minutes=2), Home.LOCAL)
    assert reconciles.read(store) == {"a": at(3, Home.GITHUB), "b": at(3, Home.GITHUB), "c": at(2)}


@pytest.mark.parametrize("data", [b"", b'{"format": 1, "runs": {"a": {"at": "1999-01-01T00:00Z", "home": "x"}}}'])
def test_a_damaged_record_counts_as_none_and_is_overwritten(data: bytes) -> None:
    store = MemoryStore()
    store.write(NAME, data, if_generation=ABSENT)
    assert reconciles.read(store) == {}
    reconciles.write(store, ["a"], after(minutes=1), Home.LOCAL)
    assert reconciles.read(store) == {"a": at(1)}


def test_the_oldest_runs_are_dropped() -> None:
    store = MemoryStore()
    for number in range(MOST + 1):
        reconciles.write(store, [f"r{number}"], after(minutes=number), Home.LOCAL)
    assert len(reconciles.read(store)) == MOST
    assert "r0" not in reconciles.read(store)


def test_a_store_that_does_not_answer_stops_no_reconcile() -> None:
    class Silent(MemoryStore):
        def read(self, name: str) -> Object:
            raise TemporarilyUnavailable(f"no answer for {name}")

    assert reconciles.read(Silent()) == {}
    reconciles.write(Silent(), ["a"], after(minutes=1), Home.LOCAL)
