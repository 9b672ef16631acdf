"""Test the record of the model in use: read as written, bounded, and damaged where it is not valid."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spot.storage.base import ABSENT, Conflict, Damaged, NewerFormat, Written
from spot.storage.records import champion
from spot.storage.records.champion import MOST, NAME, Champion, PromotedBy, Promotion
from tests.machinery.samples import T0
from tests.machinery.storage.memory import MemoryStore

GATE, PERSON, ROLLBACK = PromotedBy.GATE, PromotedBy.PERSON, PromotedBy.ROLLBACK


def promotion(run: str = "a", how: PromotedBy = GATE, **changes: Any) -> Promotion:
    model = {"model/model.safetensors": Written(generation=3, size=7, crc32c=9)}
    values = {"number": 1, "run": run, "at": T0, "how": how, "by": "supervisor", "reason": "better", "score": 0.9}
    return Promotion(**{**values, "uri": f"gs://bucket/prefix/models/{run}", "model": model, **changes})


def known(*newest_first: tuple[str, PromotedBy]) -> Champion:
    return Champion(promotions=tuple(promotion(run, how) for run, how in newest_first))


def test_the_first_promotion_creates_the_record_and_the_next_one_comes_before_it() -> None:
    store = MemoryStore()
    assert champion.read(store) == (Champion(), ABSENT)
    first = champion.write(store, Champion(), ABSENT, promotion("a"))
    found, generation = champion.read(store)
    assert found == first
    champion.write(store, found, generation, promotion("b"))
    found, _ = champion.read(store)
    assert [(one.run, one.number) for one in found.promotions] == [("b", 2), ("a", 1)]
    assert found.run == "b"


def test_a_record_that_changed_since_is_not_written() -> None:
    store = MemoryStore()
    champion.write(store, Champion(), ABSENT, promotion("a"))
    with pytest.raises(Conflict):
        champion.write(store, Champion(), ABSENT, promotion("b"))


def test_the_oldest_promotions_are_dropped_and_the_numbers_go_on() -> None:
    store = MemoryStore()
    found, generation = Champion(), ABSENT
    for number in range(MOST + 2):
        champion.write(store, found, generation, promotion(f"r{number}"))
        found, generation = champion.read(store)
    assert [found.promotions[0].number, found.promotions[-1].number, len(found.promotions)] == [MOST + 2, 3, MOST]


@pytest.mark.parametrize(
    ("history", "previous"),
    [
        ([], None),
        ([("a", GATE)], None),
        ([("b", GATE), ("a", GATE)], "a"),
        ([("b", ROLLBACK), ("c", GATE), ("b", GATE), ("a", GATE)], "a"),
        ([("a", ROLLBACK), ("b", ROLLBACK), ("c", GATE), ("b", GATE), ("a", GATE)], None),
        ([("d", GATE), ("a", ROLLBACK), ("b", GATE), ("a", GATE)], "a"),
        ([("d", GATE), ("b", PERSON), ("a", ROLLBACK), ("b", GATE), ("a", GATE)], "b"),
    ],
)
def test_the_previous_champion_is_none_that_was_rolled_back(
    history: list[tuple[str, PromotedBy]], previous: str | None
) -> None:
    found = known(*history).previous()
    assert (found.run if found else None) == previous


@pytest.mark.parametrize(
    "change",
    [
        {"run": "../a"},
        {"how": "luck"},
        {"score": "high"},
        {"uri": "https://example.com"},
        {"model": {"model/model.safetensors": {"generation": -1, "size": 1, "crc32c": 1}}},
    ],
)
def test_an_invalid_record_is_damaged(change: dict[str, Any]) -> None:
    store = MemoryStore()
    champion.write(store, Champion(), ABSENT, promotion())
    found = store.read(NAME)
    values = json.loads(found.data)
    values["promotions"][0] |= change
    store.write(NAME, json.dumps(values).encode(), if_generation=found.generation)
    with pytest.raises(Damaged, match="restore an earlier generation of it"):
        champion.read(store)


def test_a_record_of_a_newer_program_is_not_replaced() -> None:
    store = MemoryStore()
    store.write(NAME, b'{"format": 2}', if_generation=ABSENT)
    with pytest.raises(NewerFormat):
        champion.read(store)
