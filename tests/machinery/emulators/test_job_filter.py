"""Test that the filter of a list has the meaning in Google's documentation."""

from __future__ import annotations

import pytest

from spot.emulators.custom_job import InvalidJob
from tests.machinery.emulators.world import PROJECT, REGION, World


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", True),
        ('labels.run="r1"', True),
        ('labels.run="r"', False),
        ('labels.none="r1"', False),
        ('labels.run="r1" AND labels.attempt="a01"', True),
        ('labels.run="r1" AND labels.attempt="a02"', False),
    ],
)
def test_it_selects_by_labels(world: World, text: str, found: bool) -> None:
    name = world.create(labels={"run": "r1", "attempt": "a01"})
    assert [job.name for job in world.jobs.list(PROJECT, REGION, text).jobs] == [name] * found


@pytest.mark.parametrize(
    "text", ["run=r1", 'labels.run="r1', "labels.run", "a AND ", 'labels.run="a" OR state="b"', 'state="RUNNING"']
)
def test_a_filter_that_cannot_be_read_is_refused_not_ignored(world: World, text: str) -> None:
    with pytest.raises(InvalidJob, match="The provided filter is not valid"):
        world.jobs.list(PROJECT, REGION, text)
