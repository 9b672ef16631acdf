"""A list's filter means what Google's documentation says."""

from __future__ import annotations

import pytest

from spot.emulators import job_filter
from spot.emulators.custom_job import InvalidJob
from tests.machinery.emulators.world import World


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", True),
        ("  ", True),
        ('labels.run="r1"', True),
        ("labels.run=r1", True),
        ('labels.run = "r1"', True),
        ('labels.run="r"', False),
        ('labels.run!="r2"', True),
        ('labels.run!="r1"', False),
        ('labels.none="r1"', False),
        ('labels.run="r1" AND labels.attempt="a01"', True),
        ('labels.run="r1"  AND  labels.attempt="a02"', False),
        ('state="JOB_STATE_QUEUED"', True),
        ('state!="JOB_STATE_QUEUED"', False),
        ('state="JOB_STATE_RUNNING" AND labels.run="r1"', False),
        ('display_name="retrain"', True),
        ('displayName="other"', False),
    ],
)
def test_it_selects(world: World, text: str, found: bool) -> None:
    job = world.get(world.create(labels={"run": "r1", "attempt": "a01"}))
    assert job_filter.parse(text)(job) is found


@pytest.mark.parametrize("text", ["run=r1", 'labels.run="r1', "labels.run", "a AND ", 'labels.run="a" OR state="b"'])
def test_what_cannot_be_read_is_refused_not_ignored(text: str) -> None:
    with pytest.raises(InvalidJob, match="The provided filter is not valid"):
        job_filter.parse(text)
