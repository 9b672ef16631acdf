"""The policy decides as recorded, in every situation, world and replay that golden.json keeps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.machinery.policy.golden import GOLDEN, PARTS, SIZES, counts

RECORDED: dict[str, list[str]] = json.loads(GOLDEN.read_text())
OF_EACH_KIND = 8


def check(part: str, numbers: Iterable[int]) -> None:
    numbers = list(numbers)
    made = zip(numbers, PARTS[part](numbers), strict=True)
    differ = [(number, RECORDED[part][number], line) for number, line in made if line != RECORDED[part][number]]
    assert not differ, differ[:3]


def sample(part: str) -> list[int]:
    """Return the first lines that hold decisions of each kind."""
    met = Counter[str]()
    found = []
    for number, line in enumerate(RECORDED[part]):
        kinds = set(counts({part: [line]}))
        if any(met[kind] < OF_EACH_KIND for kind in kinds):
            found.append(number)
            met.update(kinds)
    return found


def test_every_situation_is_decided_as_recorded() -> None:
    check("situations", range(SIZES["situations"]))


@pytest.mark.parametrize("part", ["worlds", "replays"])
def test_a_sample_with_decisions_of_each_kind_is_as_recorded(part: str) -> None:
    numbers = sample(part)
    assert set(counts({part: [RECORDED[part][number] for number in numbers]})) == set(counts({part: RECORDED[part]}))
    check(part, numbers)


@pytest.mark.chaos
def test_every_decision_is_the_recorded_one() -> None:
    for part, size in SIZES.items():
        check(part, range(size))


def test_every_kind_of_decision_is_recorded() -> None:
    found = counts(RECORDED)
    assert {kind.split()[0] for kind in found} == {"submit", "cancel", "give-up", "wait", "close"}
    assert min(found.values()) >= 5
    assert found["submit spot as standby"] > 50
    assert {part: len(lines) for part, lines in RECORDED.items()} == SIZES
