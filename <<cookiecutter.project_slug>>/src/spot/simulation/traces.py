"""Read measured capacity by region (format: docs/costs.md), and cut windows out of it, as single runs would meet it."""

import csv
import itertools
import random
import re
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from spot.core.errors import SpotError
from spot.core.format import clock, counted
from spot.storage.text import read_text

SHIPPED = "gcp_h100_spot_counts_2025-10.csv"
GAP = 3
"""Probes further apart than this multiple of their usual distance leave a gap between them."""

_MINUTE = timedelta(minutes=1)
_ZONE = re.compile(r"(?P<region>[a-z]+-[a-z]+\d+)-[a-z]")

Spans = tuple[tuple[int, int], ...]
"""Half-open ranges of minutes, in order and apart."""
Capacity = Mapping[str, Spans]
"""By region, the minutes since submit with capacity for all machines of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Hold the counts of one region; minutes are since the start of the trace."""

    minutes: tuple[float, ...]
    counts: tuple[int, ...]
    """From each of `minutes` on; the last one for ever."""
    known: Spans
    """The stretches between gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Hold the capacity by region. Vertex AI picks the zone, so a region counts as its best zone."""

    name: str
    start: datetime
    series: Mapping[str, Series]

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(self.series)

    def count(self, region: str, after: timedelta) -> int:
        """Return the count this long after the start, or at the start. Raise `SpotError` for an unknown region."""
        series = self._of(region)
        return series.counts[max(bisect_right(series.minutes, after / _MINUTE) - 1, 0)]

    def up(self, region: str, machines: int) -> Spans:
        """Return when there was capacity for this many machines together. Raise `SpotError`."""
        series, end = self._of(region), self._end
        untils = (*series.minutes[1:], end)
        return merged(
            (int(begin), int(until))
            for begin, until, count in zip(series.minutes, untils, series.counts, strict=True)
            if count >= machines
        )

    def known(self, regions: Sequence[str]) -> Spans:
        """Return where none of these regions has a gap. Raise `SpotError`."""
        common: Spans = ((0, self._end),)
        for region in regions:
            pairs = itertools.product(common, self._of(region).known)
            common = merged(sorted((max(a, c), min(b, d)) for (a, b), (c, d) in pairs))
        return common

    def gap_warning(self, regions: Sequence[str]) -> str | None:
        known = self.known(regions)
        gaps = [(one[1], other[0]) for one, other in itertools.pairwise(known)]
        if not gaps:
            return None
        begin, end = max(gaps, key=lambda gap: gap[1] - gap[0])
        return (
            f"{self.name} has {counted(len(gaps), 'gap')}, the longest {(end - begin) / 60:.1f} h from"
            f" {clock(self.start + begin * _MINUTE)}: no replay crosses a gap before its deadline"
        )

    @property
    def _end(self) -> int:
        return max((series.known[-1][1] for series in self.series.values() if series.known), default=0)

    def _of(self, region: str) -> Series:
        if region not in self.series:
            known = ", ".join(self.series)
            raise SpotError(f"{self.name}: no region {region!r} in this trace, only {known}")
        return self.series[region]


def merged(spans: Iterable[tuple[int, int]]) -> Spans:
    """Join the spans that touch, and drop the empty ones; they must be in order."""
    found: list[tuple[int, int]] = []
    for begin, end in spans:
        if end <= begin:
            continue
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return tuple(found)


@cache
def shipped() -> Trace:
    """Return the trace of this package: H100 machines, two weeks, four regions."""
    with as_file(files("spot.simulation") / "assets" / SHIPPED) as path:
        return read(path, SHIPPED)


def read(path: Path, name: str | None = None) -> Trace:
    """Read a trace. Raise `SpotError` with the file, the line and the value."""
    name, times, cells = name or str(path), list[datetime](), list[list[int | None]]()
    try:
        rows = csv.reader(read_text(path).rstrip().splitlines(), strict=True)
    except FileNotFoundError as error:
        raise SpotError(f"{name}: {error.strerror}") from error
    try:
        names = next(rows, [])
        zones = _zones(names)
        for row in rows:
            if len(row) != len(names):
                raise ValueError(f"{len(row)} values for {len(names)} named columns")
            times.append(_time(row[0], times))
            cells.append([_count(cell) if cell else None for cell in row[1:]])
        if not times:
            raise ValueError("a trace has a line of column names and lines of counts")
    except (csv.Error, ValueError, OverflowError) as error:
        raise SpotError(f"{name}, line {rows.line_num}: {error}") from error
    minutes = tuple((time - times[0]) / _MINUTE for time in times)
    columns: dict[str, list[tuple[int | None, ...]]] = {}
    for region, column in zip(zones, zip(*cells, strict=True), strict=True):
        columns.setdefault(region, []).append(column)
    series = {region: _series(minutes, found) for region, found in columns.items()}
    return Trace(name=name, start=times[0], series=series)


def _series(minutes: tuple[float, ...], columns: Sequence[Sequence[int | None]]) -> Series:
    """Combine the columns of a region's zones."""
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
    """Yield the counts of a zone. Its last count holds where it was not probed, but not over a gap; then 0."""
    usual = _usual([minute for minute, cell in zip(minutes, column, strict=True) if cell is not None])
    last, until = 0, -1.0
    for minute, cell in zip(minutes, column, strict=True):
        if cell is not None:
            last, until = cell, minute + GAP * usual
        yield last if minute <= until else 0


def _between_gaps(probed: Sequence[float], usual: float, end: float) -> Spans:
    """Return the known stretches: a probe holds to the next one, or over a gap for the usual distance."""
    untils = (
        later if later - earlier <= GAP * usual else earlier + usual for earlier, later in itertools.pairwise(probed)
    )
    ends = [*untils, *(min(last + usual, end) for last in probed[-1:])]
    return merged((int(begin), int(end)) for begin, end in zip(probed, ends, strict=True))


def _zones(names: list[str]) -> list[str]:
    """Return the region of each column of counts."""
    found = [(zone, _ZONE.fullmatch(zone)) for zone in names[1:]]
    if not found:
        raise ValueError(f"no column for a zone, only {names}")
    for zone, match in found:
        if not match:
            raise ValueError(f"{zone!r} is not a zone such as us-central1-a")
    return [match["region"] for _, match in found if match]


def _time(cell: str, before: Sequence[datetime]) -> datetime:
    at = datetime.fromisoformat(cell)
    if at.tzinfo is None:
        raise ValueError(f"{cell!r} is not a time with an offset, such as 2025-10-04T00:10:00Z")
    if before and at <= before[-1]:
        raise ValueError(f"{cell!r} is not after the previous time; sort the lines by time")
    return at.astimezone(UTC)


def _count(cell: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", cell):
        raise ValueError(f"{cell!r} is not a count of machines: a whole number from 0 up")
    return int(cell)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Hold where a run of `minutes` can begin, and the capacity it meets."""

    minutes: int
    known: Spans
    ups: Mapping[str, Spans]

    def drawn(self, number: int, seed: int) -> list[int]:
        """Draw random starts, with repetition: the deadline comes before the next gap."""
        stretches = [range(begin, end - self.minutes + 1) for begin, end in self.known if end - begin >= self.minutes]
        before = [0, *itertools.accumulate(map(len, stretches))]
        picks = random.Random(f"{seed} windows").choices(range(before[-1]), k=number)
        places = [(pick, bisect_right(before, pick) - 1) for pick in picks]
        return [stretches[index][pick - before[index]] for pick, index in places]

    def capacity(self, start: int, minutes: int) -> Capacity:
        """Return the capacity from `start` on. After the end of its stretch, the stretch begins again."""
        stretch = next(span for span in self.known if span[0] <= start < span[1])
        return {region: merged(_cut(ups, stretch, start, minutes)) for region, ups in self.ups.items()}


def windows(trace: Trace, regions: Sequence[str], machines: int, minutes: int) -> Windows:
    """Return the windows of a trace. Raise `SpotError` for an unknown region or too short a trace."""
    for region in regions:
        if not trace.known([region]):
            raise SpotError(f"{trace.name}: {region} has counts in fewer than two lines; at least two are needed")
    known = trace.known(regions)
    longest = max((end - begin for begin, end in known), default=0)
    if longest < minutes:
        raise SpotError(
            f"{trace.name}: the longest stretch without a gap is {longest / 60:.1f} h, and the run has"
            f" {minutes / 60:.1f} h to its deadline: take a longer trace or a nearer deadline"
        )
    ups = {region: trace.up(region, machines) for region in regions}
    return Windows(minutes=minutes, known=known, ups=ups)


def _cut(ups: Spans, stretch: tuple[int, int], start: int, minutes: int) -> Iterator[tuple[int, int]]:
    (first, end), since = stretch, 0
    while since < minutes:
        shift = since - start
        for begin, until in ups[max(bisect_left(ups, (start, 0)) - 1, 0) :]:
            if begin >= end or begin + shift >= minutes:
                break
            yield max(begin + shift, since), min(until, end, minutes - shift) + shift
        since += end - start
        start = first
