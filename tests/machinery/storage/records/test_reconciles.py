"""The times of reconciles are kept by run, whoever writes last, and damage only loses them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from spot.core.errors import TemporarilyUnavailable
from spot.storage.base import ABSENT, Object
from spot.storage.records import reconciles
from spot.storage.records.reconciles import MOST, NAME, Home, Reconcile, Reconciles
from tests.machinery.samples import after
from tests.machinery.storage.memory import MemoryStore


def at(minutes: float, home: Home = Home.LOCAL, scheduled: float = 0) -> Reconcile:
    return Reconcile(at=after(minutes=minutes), home=home, scheduled_at=after(minutes=scheduled or minutes))


def test_a_reconcile_is_kept_beside_those_of_other_runs() -> None:
    store = MemoryStore()
    assert reconciles.read(store) == Reconciles()
    reconciles.write(store, ["a", "b"], after(minutes=1), Home.GITHUB)
    reconciles.write(store, ["b"], after(minutes=2), Home.LOCAL)
    assert reconciles.read(store).runs == {"a": at(1, Home.GITHUB), "b": at(2, scheduled=1)}


def test_of_two_that_write_at_once_the_later_time_stays() -> None:
    store = MemoryStore()
    store.before_next_write = lambda: reconciles.write(store, ["a", "b"], after(minutes=3), Home.GITHUB)
    reconciles.write(store, ["b", "c"], after(minutes=2), Home.LOCAL)
    assert reconciles.read(store).runs == {"a": at(3, Home.GITHUB), "b": at(3, Home.GITHUB), "c": at(2)}


@pytest.mark.parametrize("data", [b"", b'{"format": 1, "runs": {"a": {"at": "1999-01-01T00:00Z", "home": "x"}}}'])
def test_a_damaged_record_counts_as_none_and_is_overwritten(data: bytes) -> None:
    store = MemoryStore()
    store.write(NAME, data, if_generation=ABSENT)
    assert reconciles.read(store) == Reconciles()
    reconciles.write(store, ["a"], after(minutes=1), Home.LOCAL)
    assert reconciles.read(store).runs == {"a": at(1)}


def test_the_oldest_runs_are_dropped() -> None:
    store = MemoryStore()
    for number in range(MOST + 1):
        reconciles.write(store, [f"r{number}"], after(minutes=number), Home.LOCAL)
    assert len(reconciles.read(store).runs) == MOST
    assert "r0" not in reconciles.read(store).runs


def test_a_store_that_does_not_answer_stops_no_reconcile() -> None:
    class Silent(MemoryStore):
        def read(self, name: str) -> Object:
            raise TemporarilyUnavailable(f"no answer for {name}")

    assert reconciles.read(Silent()) == Reconciles()
    reconciles.write(Silent(), ["a"], after(minutes=1), Home.LOCAL)


def gaps(*passes: tuple[float, Home]) -> Reconciles:
    """Return the record after reconciles of one run at these minutes."""
    store = MemoryStore()
    for minutes, home in passes:
        reconciles.write(store, ["a"], after(minutes=minutes), home)
    return reconciles.read(store)


def test_the_times_between_scheduled_reconciles_are_measured_whatever_is_reconciled_by_hand() -> None:
    submit, by_hand = (0, Home.LOCAL), [(minutes, Home.LOCAL) for minutes in range(1, 200, 10)]
    found = gaps(submit, (135, Home.GITHUB), *by_hand, (355, Home.GITHUB))
    assert found.gaps == {Home.GITHUB: (timedelta(minutes=135), timedelta(minutes=220))}


def test_a_pause_without_an_open_run_is_no_gap() -> None:
    store = MemoryStore()
    for run_id, minutes, home in (("a", 0, Home.CLOUD_RUN), ("b", 9000, Home.LOCAL), ("b", 9003, Home.CLOUD_RUN)):
        reconciles.write(store, [run_id], after(minutes=minutes), home)
    assert reconciles.read(store).gaps == {Home.CLOUD_RUN: (timedelta(minutes=3),)}


def test_one_long_gap_among_many_does_not_change_the_usual_gap_and_several_do() -> None:
    punctual = [(3.0 * number, Home.CLOUD_RUN) for number in range(100)]
    assert gaps(*punctual, (700, Home.CLOUD_RUN)).usual_gap(Home.CLOUD_RUN) == timedelta(minutes=3)
    late = [(1000.0 + 60 * number, Home.CLOUD_RUN) for number in range(10)]
    found = gaps(*punctual, *late)
    assert found.usual_gap(Home.CLOUD_RUN) == timedelta(minutes=60)
    assert found.slower(Home.CLOUD_RUN, timedelta(minutes=5)) == "reconciles came every 60 min; configured 5 min"
    assert found.slower(Home.GITHUB, timedelta(minutes=5)) is None


def test_the_newest_gaps_are_kept() -> None:
    found = gaps(*((3.0 * number, Home.CLOUD_RUN) for number in range(MOST + 9)))
    assert len(found.gaps[Home.CLOUD_RUN]) == MOST
