"""Test that a sweep varies the deadline or the regions and no other setting."""

from __future__ import annotations

from datetime import timedelta

import pytest

from spot.simulation.forecast import deadlines, regions
from tests.machinery import samples

HOUR = timedelta(hours=1)
LONG = timedelta(days=9)


def hours(work: float, deadline: float, most: timedelta = LONG) -> list[float]:
    run = samples.run(work=work * HOUR, deadline=samples.after(hours=deadline))
    return [round(case.deadline_hours, 2) for case in deadlines(run, most)]


def test_deadlines_go_from_the_nearest_that_on_demand_can_meet_to_three_times_the_work() -> None:
    assert hours(work=16, deadline=24) == [17.0, 17.5, 20.0, 24.0, 32.0, 48.0]


def test_the_deadline_of_the_run_is_always_among_them() -> None:
    assert 21.3 in hours(work=16, deadline=21.3)
    assert hours(work=16, deadline=100)[-1] == 100


def test_none_is_longer_than_the_capacity_that_is_known() -> None:
    assert hours(work=16, deadline=24, most=30 * HOUR) == [17.0, 17.5, 20.0, 24.0]


def test_a_short_run_has_finer_steps_and_none_that_cannot_be_met() -> None:
    assert hours(work=1, deadline=12) == [1.7, 2.0, 3.0, 12.0]


def test_only_the_deadline_differs() -> None:
    run = samples.run()
    for case in deadlines(run, LONG):
        assert case.run.spec.policy == run.spec.policy
        assert case.label == f"{case.deadline_hours:.3g} h"


@pytest.mark.parametrize(
    ("own", "labels"), [("abc", ["a", "b", "c", "a + b", "a + b + c"]), ("ab", ["a", "b", "a + b"])]
)
def test_regions_are_tried_alone_and_together(own: str, labels: list[str]) -> None:
    cases = regions(samples.run(regions=tuple(own)))
    assert [case.label for case in cases] == labels
    assert [" + ".join(case.run.spec.policy.regions) for case in cases] == labels


def test_a_long_deadline_is_a_number_that_people_read() -> None:
    run = samples.run(work=400 * HOUR, deadline=samples.after(hours=1234.5))
    assert [case.label for case in deadlines(run, 1000 * HOUR)][-3:] == ["600 h", "800 h", "1234.5 h"]
