"""Test capacity from a script and from a measured trace."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from spot.core.errors import SpotError
from spot.core.run import Provisioning
from spot.emulators.capacity import UNLIMITED, EmulatedCapacity
from spot.simulation.traces import read
from tests.machinery.clocks import START

SPOT, FLEX, ON_DEMAND = Provisioning.SPOT, Provisioning.FLEX_START, Provisioning.ON_DEMAND
HEADER = "scheduled_at_utc,us-central1-a,us-central1-b,europe-west1-c"
TRACE = f"""{HEADER}
2025-10-04T00:10:00Z,1,3,
2025-10-04T00:20:00Z,0,,2
2025-10-04T00:30:00Z,0,0,
2025-10-04T01:30:00Z,5,4,0
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


def measured(path: Path) -> EmulatedCapacity:
    return EmulatedCapacity(measured=(read(path), START))


def spot(trace: EmulatedCapacity, minutes: float, region: str = "us-central1") -> int:
    return trace.limit(region, SPOT, START + timedelta(minutes=minutes))


def test_without_limits_every_job_gets_its_machine() -> None:
    assert EmulatedCapacity().limit("us-central1", SPOT, START) == UNLIMITED


def test_a_script_can_change_its_mind() -> None:
    capacity = EmulatedCapacity({("us-central1", SPOT): 2})
    assert capacity.limit("us-central1", SPOT, START) == 2
    assert capacity.limit("us-central1", ON_DEMAND, START) == UNLIMITED
    capacity.set("us-central1", SPOT, 0)
    assert capacity.limit("us-central1", SPOT, START) == 0


def test_a_region_has_what_its_best_zone_has_from_the_first_row_on(path: Path) -> None:
    trace = measured(path)
    assert [spot(trace, minutes) for minutes in (0, 9.99, 10, 20, 79, 80)] == [3, 3, 3, 0, 0, 5]


def test_where_there_was_no_probe_the_last_count_holds(path: Path) -> None:
    trace = measured(path)
    assert [spot(trace, minutes, "europe-west1") for minutes in (0, 10, 20, 80)] == [0, 2, 2, 0]


def test_before_and_after_its_rows_it_holds_the_nearest(path: Path) -> None:
    trace = measured(path)
    assert spot(trace, -1000) == 3
    assert spot(trace, 100_000) == 5


def test_only_spot_is_limited(path: Path) -> None:
    trace = measured(path)
    assert trace.limit("us-central1", ON_DEMAND, START) == UNLIMITED
    assert trace.limit("mars-north1", FLEX, START) == UNLIMITED


def test_a_region_that_is_not_in_the_file_is_named_with_those_that_are(path: Path) -> None:
    with pytest.raises(SpotError, match=r"no region 'us-east4' in this trace, only us-central1, europe-west1$"):
        spot(measured(path), 0, "us-east4")


def test_a_bad_file_is_refused_before_anything_begins(path: Path) -> None:
    path.write_text(TRACE.replace("0,0,", "0,-2,"))
    with pytest.raises(SpotError, match="line 4: '-2' is not a count"):
        measured(path)
