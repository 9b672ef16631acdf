"""Test that traces are read as docs/costs.md says, or refused in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spot.core.errors import SpotError
from spot.simulation.traces import Trace, merged, read, shipped

HEADER = "scheduled_at_utc,us-central1-a,us-central1-b,europe-west1-c"
TRACE = f"""{HEADER}
2025-10-04T00:10:00Z,1,3,
2025-10-04T00:20:00Z,0,,2
2025-10-04T00:30:00Z,0,0,
2025-10-04T00:40:00Z,5,4,0
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.csv"


def trace(path: Path, text: str = TRACE) -> Trace:
    path.write_text(text)
    return read(path)


def rows(*minutes: int, cell: str = "1") -> str:
    first = datetime(2025, 10, 4, tzinfo=UTC)
    lines = [f"{(first + timedelta(minutes=minute)).isoformat()},{cell}" for minute in minutes]
    return "\n".join(["scheduled_at_utc,us-central1-a", *lines, ""])


def test_a_region_is_up_for_n_machines_while_one_of_its_zones_has_n(path: Path) -> None:
    measured = trace(path)
    assert measured.up("us-central1", 1) == ((0, 20), (30, 40))
    assert measured.up("us-central1", 3) == ((0, 20), (30, 40))
    assert measured.up("us-central1", 4) == ((30, 40),)
    assert measured.up("us-central1", 6) == ()


def test_where_there_was_no_probe_the_last_count_holds_and_before_the_first_there_is_nothing(path: Path) -> None:
    assert trace(path).up("europe-west1", 1) == ((10, 30),)


def test_a_zone_that_is_not_probed_any_more_has_nothing_after_three_times_its_usual_distance(path: Path) -> None:
    lines = [f"2025-10-04T0{hour}:{minute}0:00Z,0," for hour in range(2) for minute in range(6)]
    probed = [line + "8" if index < 3 else line for index, line in enumerate(lines)]
    measured = trace(path, "\n".join(["time,us-central1-a,us-central1-b", *probed, ""]))
    assert measured.up("us-central1", 8) == ((0, 60),)
    assert measured.known(["us-central1"]) == ((0, 120),)


def test_the_newest_count_holds_at_any_moment_and_beyond_both_ends_the_nearest(path: Path) -> None:
    measured = trace(path)
    found = [measured.count("us-central1", timedelta(minutes=minute)) for minute in (-99, 0, 19.99, 20, 30, 999)]
    assert found == [3, 3, 3, 0, 5, 5]


def test_times_may_have_another_offset_from_utc(path: Path) -> None:
    measured = trace(path, f"{HEADER}\n2025-10-04T02:10:00+02:00,1,1,1\n2025-10-04T00:20:00Z,2,2,2\n")
    assert measured.start == datetime(2025, 10, 4, 0, 10, tzinfo=UTC)
    assert measured.up("us-central1", 2) == ((10, 20),)


def test_what_lies_between_probes_more_than_three_times_as_far_apart_as_usual_is_not_known(path: Path) -> None:
    measured = trace(path, rows(0, 10, 20, 50, 60, 91, 101))
    assert measured.known(["us-central1"]) == ((0, 70), (91, 111))
    assert measured.gap_warning(["us-central1"]) == (
        f"{path} has 1 gap, the longest 0.3 h from 2025-10-04 01:10 UTC: no replay crosses a gap before its deadline"
    )


def test_a_region_that_was_not_probed_for_so_long_has_a_gap_of_its_own(path: Path) -> None:
    lines = [f"2025-10-04T0{hour}:{minute}0:00Z,1," for hour in range(2) for minute in range(6)]
    probed = [line + "1" if index not in {3, 4, 5, 6} else line for index, line in enumerate(lines)]
    measured = trace(path, "\n".join(["time,us-central1-a,us-east4-b", *probed, ""]))
    assert measured.known(["us-central1"]) == ((0, 120),)
    assert measured.known(["us-central1", "us-east4"]) == ((0, 30), (70, 120))
    assert measured.gap_warning(["us-central1"]) is None


def test_a_region_that_is_probed_less_often_than_others_has_no_gap_for_that(path: Path) -> None:
    lines = [
        f"2025-10-{day:02}T{hour:02}:{minute}0:00Z,1,{'2' if minute == 0 else ''}"
        for day in (4, 5)
        for hour in range(24)
        for minute in range(6)
    ]
    measured = trace(path, "\n".join(["time,us-central1-a,us-east4-b", *lines, ""]))
    assert measured.known(["us-east4"]) == measured.known(["us-central1"]) == ((0, 48 * 60),)


def test_empty_lines_at_the_end_are_nothing(path: Path) -> None:
    assert trace(path, TRACE + "\n\r\n") == trace(path)


def test_a_region_that_is_not_in_the_file_is_named_with_those_that_are(path: Path) -> None:
    with pytest.raises(SpotError, match=r"no region 'us-east4' in this trace, only us-central1, europe-west1$"):
        trace(path).up("us-east4", 1)


def test_spans_that_touch_are_one_and_empty_ones_are_none() -> None:
    assert merged([(0, 3), (3, 5), (6, 6), (7, 9), (8, 12)]) == ((0, 5), (7, 12))


def test_the_shipped_trace_has_two_weeks_of_four_regions_and_one_gap() -> None:
    measured = shipped()
    assert measured.regions == ("us-central1", "us-east4", "europe-west1", "asia-south2")
    assert [round((end - begin) / 1440, 1) for begin, end in measured.known(measured.regions)] == [5.2, 9.4]


BAD = {
    "empty": ("", "line 0: no column for a zone"),
    "no rows": (HEADER + "\n", "line 1: a trace has"),
    "no zones": ("scheduled_at_utc\n2025-10-04T00:10:00Z\n", "line 1: no column for a zone"),
    "negative": (TRACE.replace("0,0,", "0,-2,"), "line 4: '-2' is not a count"),
    "a fraction": (TRACE.replace("0,0,", "0,1.5,"), "line 4: '1.5' is not a count"),
    "a word": (TRACE.replace("0,0,", "0,many,"), "line 4: 'many' is not a count"),
    "other digits": (TRACE.replace("0,0,", "0,٣,"), "line 4: '٣' is not a count"),
    "unsorted": (TRACE.replace("00:30", "00:15"), "line 4: '2025-10-04T00:15:00Z' is not after the previous time"),
    "a time twice": (TRACE.replace("00:30", "00:20"), "line 4: '2025-10-04T00:20:00Z' is not after"),
    "no time": (TRACE.replace("2025-10-04T00:30:00Z", "later"), "line 4: Invalid isoformat string: 'later'"),
    "no zone of time": (
        TRACE.replace("00:30:00Z", "00:30:00"),
        "line 4: '2025-10-04T00:30:00' is not a time with an offset",
    ),
    "too few values": (TRACE.replace("0,0,", "0"), "line 4: 2 values for 4 named columns"),
    "too many values": (TRACE.replace("0,0,", "0,0,0,0"), "line 4: 5 values for 4 named columns"),
    "an empty line": (TRACE.replace("2025-10-04T00:30:00Z,0,0,", ""), "line 4: 0 values for 4 named columns"),
    "a time before all": (
        TRACE.replace("2025-10-04T00:10:00Z", "0001-01-01T00:00:00+14:00"),
        "line 2: date value out of range",
    ),
    "no region": (TRACE.replace("us-central1-b", "us-central1"), "line 1: 'us-central1' is not a zone"),
    "an open quote": (TRACE.replace("0,0,", '0,"0,'), "line 5: unexpected end of data"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_with_its_name_line_and_value(path: Path, kind: str) -> None:
    text, said = BAD[kind]
    with pytest.raises(SpotError, match=said) as caught:
        trace(path, text)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"scheduled_at_utc\xe9,us-central1-a\n"])
def test_a_file_that_is_no_text_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SpotError, match="is not UTF-8"):
        read(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(SpotError, match=str(path)):
            read(path)
