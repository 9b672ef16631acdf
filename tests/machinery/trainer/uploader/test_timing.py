"""The timing of a hand-over: seconds as documented, and quicker where a rehearsal asks for it."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from spot.trainer.runtime.errors import UsageError
from spot.trainer.uploader.timing import LeaseTiming


def test_by_default_it_is_the_documented_one() -> None:
    assert astuple(LeaseTiming.of({})) == (3, 10, 60, 60)


def test_all_of_it_is_so_many_times_as_fast() -> None:
    assert astuple(LeaseTiming.of({"LEASE_SPEED": "30"})) == pytest.approx((0.1, 1 / 3, 2, 2))


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "nan", "inf"])
def test_a_bad_speed_is_one_line_with_the_value(text: str) -> None:
    with pytest.raises(UsageError, match=f"LEASE_SPEED={text!r} is not a number above 0: unset it"):
        LeaseTiming.of({"LEASE_SPEED": text})
