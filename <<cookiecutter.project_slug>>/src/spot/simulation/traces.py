"""Measured capacity: how many spot machines each region had to give, and when (docs/costs.md has the format)."""

from __future__ import annotations

import contextlib
import csv
import itertools
import re
import statistics
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from spot.core.errors import SpotError
from spot.core.format import clock, counted

SHIPPED = "gcp_h100_spot_counts_2025-10.csv"
GAP = 3
"""Probes of a region further apart than so many times its usual distance leave open what was between them."""

LONGEST = timedelta(days=3660)

_MINUTE = timedelta(minutes=1)
_ZONE = re.compile(r"(?P<region>[a-z]+-[a-z]+\d+)-[a-z]")

Spans = tuple[tuple[int, int], ...]
"""Minutes from, and up to but not at; in order, and none touches the next."""


class TraceError(SpotError):
    """A capacity trace that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One region. Minutes are since the trace's start."""

    minutes: tuple[float, ...]
    counts: tuple[int, ...]
    """From each of these minutes on; the last for ever."""
    known: Spans
    """Between the gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Vertex AI picks the zone, so a region has what its best zone has."""

    name: str
    start: datetime
    series: Mapping[str, Series]

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(self.series)

    def count(self, region: str, after: timedelta) -> int:
        """So long after the start; before it, as at the start. Raises `TraceError` for a region it does not have."""
        series = self._of(region)
        return series.counts[max(bisect_right(series.minutes, after / _MINUTE) - 1, 0)]

    def up(self, region: str, machines: int) -> Spans:
        """When there was capacity for so many machines together. Raises `TraceError`."""
        series, end = self._of(region), self._end
        untils = (*series.minutes[1:], end)
        return merged(
            (int(begin), int(until))
            for begin, until, count in zip(series.minutes, untils, series.counts, strict=True)
            if count >= machines
        )

    def known(self, regions: Sequence[str]) -> Spans:
        """Where none of these regions has a gap. Raises `TraceError`."""
        common: Spans = ((0, self._end),)
        for region in regions:
            common = _both(common, self._of(region).known)
        return common

    def gap_warning(self, regions: Sequence[str]) -> str | None:
        """What of it is not known, as a sentence; None if there are no gaps."""
        known = self.known(regions)
        gaps = [(one[1], other[0]) for one, other in itertools.pairwise(known)]
        if not gaps:
            return None
        begin, end = max(gaps, key=lambda gap: gap[1] - gap[0])
        return (
            f"{self.name} has {counted(len(gaps), 'gap')}, the longest of {(end - begin) / 60:.1f} h from"
            f" {clock(self.start + begin * _MINUTE)}: no replay reaches over one before its deadline"
        )

    @property
    def _end(self) -> int:
        return max((series.known[-1][1] for series in self.series.values() if series.known), default=0)

    def _of(self, region: str) -> Series:
        if region not in self.series:
            known = ", ".join(self.series)
            raise TraceError(f"{self.name}: region {region!r} is not in this trace, which has {known}")
        return self.series[region]


def merged(spans: Iterable[tuple[int, int]]) -> Spans:
    """Of spans in order, those that touch as one, without the empty ones."""
    found: list[tuple[int, int]] = []
    for begin, end in spans:
        if end <= begin:
            continue
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return tuple(found)


def _both(one: Spans, other: Spans) -> Spans:
    shared = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return merged(sorted(span for span in shared if span[0] < span[1]))


@cache
def shipped() -> Trace:
    """The measured capacity that comes with the package: H100s, two weeks, four regions."""
    with as_file(files("spot.simulation") / "assets" / SHIPPED) as path:
        return read(path, SHIPPED)


def read(path: Path, name: str | None = None) -> Trace:
    """Raises `TraceError`, which names the file, the line and the value."""
    name = name or str(path)
    rows = _rows(path, name)
    zones = _zones(name, rows[0])
    times: list[datetime] = []
    cells: list[list[int | None]] = []
    for line, row in enumerate(rows[1:], 2):
        where = f"{name}, line {line}"
        if len(row) != len(rows[0]):
            raise TraceError(f"{where}: {len(rows[0])} columns have names, but {len(row)} values are here")
        times.append(_time(where, row[0]))
        if times[-1:] <= times[-2:-1]:
            raise TraceError(f"{where}: {row[0]!r} is not after the time before it; sort the lines by time")
        if times[-1] - times[0] > LONGEST:
            raise TraceError(f"{where}: {row[0]!r} is more than ten years after the first time: shorten the trace")
        cells.append([_count(where, cell) if cell else None for cell in row[1:]])
    minutes = tuple((time - times[0]) / _MINUTE for time in times)
    columns = [
        column for _, column in sorted(zip(zones, zip(*cells, strict=True), strict=True), key=lambda one: one[0])
    ]
    by_region = itertools.groupby(zip(sorted(zones), columns, strict=True), key=lambda one: one[0])
    found = {region: _series(minutes, [column for _, column in group]) for region, group in by_region}
    return Trace(name=name, start=times[0], series={region: found[region] for region in dict.fromkeys(zones)})


def _series(minutes: tuple[float, ...], columns: Sequence[Sequence[int | None]]) -> Series:
    """Of a region, from the columns of its zones."""
    counts = zip(*(_held(minutes, column) for column in columns), strict=True)
    probed = [
        minute
        for minute, cells in zip(minutes, zip(*columns, strict=True), strict=True)
        if any(cell is not None for cell in cells)
    ]
    known = _between_gaps(probed, _usual(probed), minutes[-1] + _usual(minutes))
    return Series(minutes=minutes, counts=tuple(map(max, counts)), known=known)


def _usual(minutes: Sequence[float]) -> float:
    distances = [later - earlier for earlier, later in itertools.pairwise(minutes)]
    return statistics.median(distances) if distances else 0.0


def _held(minutes: Sequence[float], column: Sequence[int | None]) -> Iterator[int]:
    """Where a zone was not probed its last count holds, for as long as what is no gap; else there is nothing."""
    usual = _usual([minute for minute, cell in zip(minutes, column, strict=True) if cell is not None])
    last, until = 0, -1.0
    for minute, cell in zip(minutes, column, strict=True):
        if cell is not None:
            last, until = cell, minute + GAP * usual
        yield last if minute <= until else 0


def _between_gaps(probed: Sequence[float], usual: float, end: float) -> Spans:
    """What a probe says holds for the usual distance, and to the next probe, if that is not too far."""
    untils = (
        later if later - earlier <= GAP * usual else earlier + usual for earlier, later in itertools.pairwise(probed)
    )
    ends = [*untils, *(min(last + usual, end) for last in probed[-1:])]
    return merged((int(begin), int(end)) for begin, end in zip(probed, ends, strict=True))


def _rows(path: Path, name: str) -> list[list[str]]:
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines(), strict=True))
    except OSError as error:
        raise TraceError(f"{name}: this trace cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{name}: this trace cannot be read as CSV: {error}") from error
    while rows and not rows[-1]:
        rows.pop()
    if len(rows) < 2:
        raise TraceError(
            f"{name}: a trace needs a line of column names and at least one of counts, this has {len(rows)}"
        )
    return rows


def _zones(name: str, names: list[str]) -> list[str]:
    """The region of each column of counts."""
    if len(names) < 2:
        raise TraceError(f"{name}, line 1: there is no column for a zone, only {names}")
    if len(set(names)) < len(names):
        raise TraceError(f"{name}, line 1: {max(names, key=names.count)!r} is the name of more than one column")
    found = [(zone, _ZONE.fullmatch(zone)) for zone in names[1:]]
    for zone, match in found:
        if not match:
            raise TraceError(f"{name}, line 1: {zone!r} is no zone, such as us-central1-a")
    return [match["region"] for _, match in found if match]


def _time(where: str, cell: str) -> datetime:
    with contextlib.suppress(ValueError, OverflowError):  # the latter: in UTC it would be before the year 1
        if (at := datetime.fromisoformat(cell)).tzinfo is not None:
            return at.astimezone(UTC)
    raise TraceError(f"{where}: {cell!r} is no time in UTC, such as 2025-10-04T00:10:00Z")


def _count(where: str, cell: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", cell):
        raise TraceError(f"{where}: {cell!r} is no count of machines, which is a whole number from 0 up")
    return int(cell)
