"""The policy decides as recorded, in every situation, world and replay that golden.json keeps."""

from __future__ import annotations

import json

import pytest

from tests.machinery.policy.golden import GOLDEN, PARTS, counts

RECORDED: dict[str, list[str]] = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("part", PARTS)
def test_every_decision_is_the_recorded_one(part: str) -> None:
    made = list(PARTS[part]())
    differ = [number for number, pair in enumerate(zip(RECORDED[part], made, strict=True)) if pair[0] != pair[1]]
    assert not differ, [(number, RECORDED[part][number], made[number]) for number in differ[:3]]


def test_every_kind_of_decision_is_recorded() -> None:
    found = counts(RECORDED)
    assert {kind.split()[0] for kind in found} == {"submit", "cancel", "give-up", "wait", "close"}
    assert min(found.values()) >= 5
    assert found["submit spot as standby"] > 50
