"""Where there is capacity, as a script or a measured trace says; a broken trace is refused in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rehearsal.capacity import UNLIMITED, Scripted, Trace, TraceError, Unlimited
from spot.run import Provisioning
from tests.clocks import START

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


def spot(trace: Trace, minutes: float, region: str = "us-central1") -> int:
    return trace.free(region, SPOT, START + timedelta(minutes=minutes))


def test_without_limits_every_job_gets_its_machine() -> None:
    assert Unlimited().free("us-central1", SPOT, START) == UNLIMITED


def test_a_script_can_change_its_mind() -> None:
    capacity = Scripted({("us-central1", SPOT): 2}, default=7)
    assert capacity.free("us-central1", SPOT, START) == 2
    assert capacity.free("us-central1", ON_DEMAND, START) == 7
    capacity.set("us-central1", SPOT, 0)
    assert capacity.free("us-central1", SPOT, START) == 0


def test_a_region_has_what_its_best_zone_has_from_the_first_row_on(path: Path) -> None:
    trace = Trace(path, START)
    assert [spot(trace, minutes) for minutes in (0, 9.99, 10, 20, 79, 80)] == [3, 3, 3, 0, 0, 5]


def test_where_there_was_no_probe_the_last_count_holds(path: Path) -> None:
    trace = Trace(path, START)
    assert [spot(trace, minutes, "europe-west1") for minutes in (0, 10, 20, 80)] == [0, 2, 2, 0]


def test_before_and_after_its_rows_it_holds_the_nearest(path: Path) -> None:
    trace = Trace(path, START)
    assert spot(trace, -1000) == 3
    assert spot(trace, 100_000) == 5


def test_it_can_start_later_in_the_trace(path: Path) -> None:
    trace = Trace(path, START, offset=timedelta(minutes=15))
    assert [spot(trace, minutes) for minutes in (0, 5, 65)] == [3, 0, 5]


def test_only_spot_is_limited(path: Path) -> None:
    trace = Trace(path, START)
    assert trace.free("us-central1", ON_DEMAND, START) == UNLIMITED
    assert trace.free("mars-north1", FLEX, START) == UNLIMITED


def test_a_region_that_is_not_in_the_file_is_named_with_those_that_are(path: Path) -> None:
    with pytest.raises(TraceError, match=r"'us-east4' is not in this trace, which has us-central1, europe-west1$"):
        spot(Trace(path, START), 0, "us-east4")


def test_times_may_have_another_offset_from_utc(path: Path) -> None:
    path.write_text(f"{HEADER}\n2025-10-04T02:10:00+02:00,1,1,1\n2025-10-04T00:20:00Z,2,2,2\n")
    assert spot(Trace(path, datetime(2025, 10, 4, 0, 10, tzinfo=UTC)), 10) == 2


BAD = {
    "empty": ("", "this has 0"),
    "no rows": (HEADER + "\n", "this has 1"),
    "no zones": ("scheduled_at_utc\n2025-10-04T00:10:00Z\n", "line 1: there is no column for a zone"),
    "negative": (TRACE.replace("0,0,", "0,-2,"), "line 4: '-2' is no count"),
    "a fraction": (TRACE.replace("0,0,", "0,1.5,"), "line 4: '1.5' is no count"),
    "a word": (TRACE.replace("0,0,", "0,many,"), "line 4: 'many' is no count"),
    "other digits": (TRACE.replace("0,0,", "0,٣,"), "line 4: '٣' is no count"),
    "unsorted": (TRACE.replace("00:30", "00:15"), "line 4: '2025-10-04T00:15:00Z' is not after the time before it"),
    "a time twice": (TRACE.replace("00:30", "00:20"), "line 4: '2025-10-04T00:20:00Z' is not after"),
    "no time": (TRACE.replace("2025-10-04T00:30:00Z", "later"), "line 4: 'later' is no time in UTC"),
    "no zone of time": (TRACE.replace("00:30:00Z", "00:30:00"), "line 4: '2025-10-04T00:30:00' is no time in UTC"),
    "too few values": (TRACE.replace("0,0,", "0"), "line 4: 4 columns have names, but 2 values are here"),
    "too many values": (TRACE.replace("0,0,", "0,0,0,0"), "line 4: 4 columns have names, but 5 values are here"),
    "an empty line": (TRACE.replace("2025-10-04T00:30:00Z,0,0,", ""), "line 4: 4 columns have names, but 0 values"),
    "no region": (TRACE.replace("us-central1-b", "us-central1"), "line 1: 'us-central1' is no zone"),
    "an open quote": (TRACE.replace("0,0,", '0,"0,'), "cannot be read as CSV"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_with_its_name_line_and_value(path: Path, kind: str) -> None:
    text, said = BAD[kind]
    path.write_text(text)
    with pytest.raises(TraceError, match=said) as caught:
        Trace(path, START)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zone_that_is_there_twice_is_refused(path: Path) -> None:
    path.write_text(f"{HEADER},us-central1-a\n2025-10-04T00:10:00Z,1,1,1,1\n")
    with pytest.raises(TraceError, match="line 1: 'us-central1-a' is the name of more than one column"):
        Trace(path, START)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"scheduled_at_utc\xe9,us-central1-a\n"])
def test_a_file_that_is_no_text_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(TraceError, match="cannot be read as CSV"):
        Trace(path, START)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(TraceError, match=str(path)):
            Trace(path, START)
