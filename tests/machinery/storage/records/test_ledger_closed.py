"""Test the listing of closed runs by month."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from spot.core.run import Run, RunState
from spot.storage.base import ABSENT, Damaged
from spot.storage.records.codec import encode
from spot.storage.records.ledger import Ledger, UnknownRun
from tests.machinery import samples
from tests.machinery.storage.memory import MemoryStore

NOW = datetime(2027, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("memory://ledger")


def closed(store: MemoryStore, run_id: str, submitted_at: datetime) -> Run:
    run = replace(samples.run(id=run_id), submitted_at=submitted_at, state=RunState.SUCCEEDED, ended_at=NOW)
    ledger = Ledger(store)
    ledger.file(ledger.create(run))
    return run


def test_every_month_from_one_to_the_other_is_looked_at_and_no_other(store: MemoryStore) -> None:
    for month in (10, 11, 12):
        closed(store, f"2026{month}30-000000-0a1b", datetime(2026, month, 30, tzinfo=UTC))
    closed(store, "20270131-000000-0a1b", datetime(2027, 1, 31, tzinfo=UTC))
    closed(store, "20261231-nightly", datetime(2026, 12, 31, tzinfo=UTC))
    names = Ledger(store).closed_since(datetime(2026, 11, 30, 23, tzinfo=UTC), NOW)
    assert names == [
        "runs/closed/2026/11/20261130-000000-0a1b.json",
        "runs/closed/2026/12/20261230-000000-0a1b.json",
        "runs/closed/2026/12/20261231-nightly.json",
        "runs/closed/2027/01/20270131-000000-0a1b.json",
    ]
    assert Ledger(store).closed_since(NOW, NOW) == names[-1:]


def test_what_is_found_can_be_read(store: MemoryStore) -> None:
    run = closed(store, "20270103-nightly", datetime(2027, 1, 3, tzinfo=UTC))
    [name] = Ledger(store).closed_since(NOW, NOW)
    assert Ledger(store).read_closed(name) == run


def test_what_else_lies_there_is_no_run_and_a_broken_record_is_named(store: MemoryStore) -> None:
    store.write("runs/closed/2027/01/notes.txt", b"", if_generation=ABSENT)
    store.write("runs/closed/2027/01/other.json", encode(samples.run(id="nightly")), if_generation=ABSENT)
    [name] = Ledger(store).closed_since(NOW, NOW)
    with pytest.raises(Damaged, match=r"runs/closed/2027/01/other\.json' is not the name of a closed run"):
        Ledger(store).read_closed(name)
    store.write("runs/closed/2027/01/20270101-a.json", encode(samples.run(id="nightly")), if_generation=ABSENT)
    with pytest.raises(Damaged, match=r"runs/closed/2027/01/20270101-a\.json holds run nightly"):
        Ledger(store).read_closed("runs/closed/2027/01/20270101-a.json")
    with pytest.raises(UnknownRun):
        Ledger(store).read_closed("runs/closed/2027/01/20270102-gone.json")
