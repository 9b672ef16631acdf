"""The pictures of a report: attempts over time, and progress against the deadline. SVG to stand in a page of HTML.

Across, everything is in percent of the width, and down in pixels: so words keep their size on a phone. Colours and
strokes are those of the style sheet (assets/report.css).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape

from spot.accounting.cost import Account, Entry
from spot.accounting.phases import Phase
from spot.accounting.progress_curve import Curve
from spot.core.format import clock, counted, hours
from spot.core.run import Outcome, RunState
from spot.report import wording as words

LANE, GAP, HEAD, FOOT = 22, 20, 30, 22
"""Pixels: a row of bars, the name of a region above it, the marks above all, the times below."""
CURVE = 150
MOST_TICKS = 6
WIDE_ENOUGH = 8.0
"""Percent of the width that the id of an attempt needs."""
_STEPS = tuple(timedelta(minutes=m) for m in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200))
_CALM = {None, Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.NO_CAPACITY, Outcome.QUOTA, Outcome.PREEMPTED}
_HATCHES = (
    '<defs><pattern id="waited" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="ground" width="6" height="6"/><line class="hatch" x1="0" x2="0" y1="0" y2="6"/></pattern>'
    '<pattern id="lost" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">'
    '<line class="hatch lost" x1="0" x2="0" y1="0" y2="5"/></pattern></defs>'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    begin: datetime
    end: datetime

    def x(self, moment: datetime) -> float:
        """In percent of the width."""
        share = (moment - self.begin) / (self.end - self.begin)
        return 100 * min(max(share, 0.0), 1.0)


def timeline(account: Account, end: datetime) -> str:
    """The attempts by region, from submit to `end`."""
    scale, regions = _Scale(begin=account.run.submitted_at, end=end), _rows(account.entries)
    y, parts, marks = HEAD, list[str](), list[str]()
    for region, rows in regions.items():
        parts.append(f'<text class="lane" x="0" y="{y + 13}">{escape(region)}</text>')
        y += GAP
        for row in rows:
            for entry in row:
                parts += _bars(entry, account.end, y, scale)
                marks += _marks(entry, y, scale)
            y += LANE + 4
    height = y + FOOT
    frame = [*_grid(scale, y), *parts, *marks, *_moments(account, scale, y)]
    return _svg("timeline", height, "Attempts over time", _told(account), [_HATCHES, *frame])


def progress(account: Account, found: Curve, end: datetime) -> str:
    """What was safe, and the least that could still meet the deadline."""
    scale = _Scale(begin=account.run.submitted_at, end=end)
    done = [*found.points]
    bends = (scale.begin, found.deadline - found.work, found.deadline, end)
    due = [(moment, found.due(moment)) for moment in bends if scale.begin <= moment <= end]
    line, area = _path(done, scale), f"{_path(done, scale)} {scale.x(done[-1][0]) * 10:.1f},100 0,100"
    plot = (
        f'<svg x="0" y="{HEAD}" width="100%" height="{CURVE}" viewBox="0 0 1000 100" preserveAspectRatio="none">'
        f'<polygon class="area" points="{area}"/><polyline class="due" points="{_path(due, scale)}"/>'
        f'<polyline class="done" points="{line}"/></svg>'
    )
    lines = [
        f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/><text class="tick" x="0" y="{y - 3}">{share} %</text>'
        for share, y in ((100, HEAD), (50, HEAD + CURVE / 2))
    ]
    bottom = HEAD + CURVE
    told = f"{words.progress(account) or 'No step is safe.'} The deadline is {clock(account.run.spec.deadline)}."
    frame = [*_grid(scale, bottom), *lines, plot, *_moments(account, scale, bottom)]
    return _svg("progress", bottom + FOOT, "Progress against the deadline", told, frame)


def _svg(name: str, height: float, title: str, told: str, parts: Iterable[str]) -> str:
    return (
        f'<svg class="chart" width="100%" height="{height:g}" role="img" aria-labelledby="{name}-title {name}-told">'
        f'<title id="{name}-title">{title}</title><desc id="{name}-told">{escape(told)}</desc>{"".join(parts)}</svg>'
    )


def _told(account: Account) -> str:
    regions = ", ".join(dict.fromkeys(entry.attempt.region for entry in account.entries))
    return f"{counted(len(account.entries), 'attempt')} in {regions}: {words.interruptions(account)}."


def _rows(entries: Sequence[Entry]) -> dict[str, list[list[Entry]]]:
    """By region, side by side where two were there at once."""
    regions: dict[str, list[list[Entry]]] = {}
    for entry in entries:
        rows = regions.setdefault(entry.attempt.region, [])
        begin = entry.attempt.intended_at
        free = next((row for row in rows if (until := row[-1].attempt.ended_at) and until <= begin), None)
        if free is None:
            rows.append(free := [])
        free.append(entry)
    return regions


def _bars(entry: Entry, now: datetime, y: float, scale: _Scale) -> list[str]:
    attempt = entry.attempt
    waited_until = attempt.started_at or attempt.ended_at or now
    bars = [_bar("waited", attempt.intended_at, waited_until, y + 6, LANE - 12, scale)]
    for span in entry.spans:
        kind = "training" if span.phase is Phase.TRAINING else "rest"
        bars.append(_bar(f"{kind} {attempt.provisioning}", span.start, span.end, y, LANE, scale))
        if span.phase is Phase.REPLAYED:
            bars.append(_bar("lost", span.start, span.end, y, LANE, scale))
    label = ""
    if entry.spans and scale.x(entry.spans[-1].end) - scale.x(entry.spans[0].start) >= WIDE_ENOUGH:
        middle = (scale.x(entry.spans[-1].end) + scale.x(entry.spans[0].start)) / 2
        label = f'<text class="id" x="{middle:.2f}%" y="{y + 15}">{escape(attempt.id)}</text>'
    told = f"{attempt.id}, {words.where(entry)}: {words.how(entry)}, waited {hours(entry.waited)}"
    told += f", billed {hours(entry.billed)} {words.cost(entry)}" if entry.billed else ""
    return [f"<g><title>{escape(told)}</title>{''.join(bars)}{label}</g>"]


def _bar(kind: str, start: datetime, end: datetime, y: float, height: float, scale: _Scale) -> str:
    left, right = scale.x(start), scale.x(end)
    if right <= left:
        return ""
    width = max(right - left, 0.15)  # to be seen at all
    return f'<rect class="{kind}" x="{left:.3f}%" y="{y:g}" width="{width:.3f}%" height="{height:g}"/>'


def _marks(entry: Entry, y: float, scale: _Scale) -> list[str]:
    """What ended it, at its end; and where it took over, at that place."""
    attempt, marks = entry.attempt, list[str]()
    if attempt.ended_at and attempt.outcome is Outcome.PREEMPTED:
        cross = '<path class="halo" d="M-4-4 4 4M-4 4 4-4"/><path class="preempted" d="M-4-4 4 4M-4 4 4-4"/>'
        marks.append(_mark("preempted", cross, attempt.ended_at, y, scale))
    elif attempt.ended_at and attempt.outcome not in _CALM and attempt.outcome is not Outcome.HANDED_OVER:
        triangle = '<path class="failed" d="M0-7 7 6H-7Z"/><path class="failed-word" d="M0-3V2M0 3.6V5"/>'
        marks.append(_mark(str(attempt.outcome), triangle, attempt.ended_at, y, scale))
    if entry.took_over_at:
        diamond = '<path class="handed-over" d="M0-7 7 0 0 7-7 0Z"/>'
        marks.append(_mark(f"took over from {attempt.replaces}", diamond, entry.took_over_at, y, scale))
    return marks


def _mark(what: str, drawn: str, at: datetime, y: float, scale: _Scale) -> str:
    told = escape(f"{what}, {clock(at)}")
    place = f'x="{scale.x(at):.3f}%" y="{y + LANE / 2:g}"'
    return f'<svg {place} overflow="visible"><title>{told}</title>{drawn}</svg>'


def _moments(account: Account, scale: _Scale, bottom: float) -> list[str]:
    """The deadline, and how the run ended."""
    run = account.run
    ends = {
        RunState.OPEN: "now",
        RunState.FAILED: "failed",
        RunState.CANCELLED: "cancelled",
    }
    name = "model" if account.is_complete else ends[run.state]
    moments = [_moment("end", name, account.end, 24, scale, bottom)]
    if run.spec.deadline <= scale.end:
        moments.append(_moment("deadline", "deadline", run.spec.deadline, 11, scale, bottom))
    return [part for parts in zip(*moments, strict=True) for part in parts]  # no line goes through a word


def _moment(kind: str, name: str, at: datetime, y: float, scale: _Scale, bottom: float) -> tuple[str, str]:
    """Its line, and its word."""
    x = scale.x(at)
    left = x > 60
    line = f'<line class="{kind}" x1="{x:.3f}%" x2="{x:.3f}%" y1="{y - 9:g}" y2="{bottom:g}"/>'
    word = (
        f'<text class="moment {kind}-word {"left" if left else ""}" x="{x:.3f}%" y="{y:g}" '
        f'dx="{-5 if left else 5}">{name} {_time(at)}</text>'
    )
    return line, word


def _grid(scale: _Scale, bottom: float) -> list[str]:
    lines = [f'<line class="axis" x1="0" x2="100%" y1="{bottom:g}" y2="{bottom:g}"/>']
    for moment in _ticks(scale):
        x = scale.x(moment)
        side = "first" if x < 4 else "left" if x > 96 else ""
        name = f"{moment.day} {moment:%b}" if moment.hour == moment.minute == 0 else _time(moment)
        lines.append(
            f'<line class="grid" x1="{x:.3f}%" x2="{x:.3f}%" y1="{HEAD}" y2="{bottom:g}"/>'
            f'<text class="tick middle {side}" x="{x:.3f}%" y="{bottom + 15:g}">{name}</text>'
        )
    return lines


def _ticks(scale: _Scale) -> list[datetime]:
    """Round times, as few as a phone has room for."""
    whole = scale.end - scale.begin
    step = next((step for step in _STEPS if whole / step <= MOST_TICKS), whole)
    day = scale.begin.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = day + step * -((day - scale.begin) // step)
    ticks = [first + step * number for number in range(MOST_TICKS + 1)]
    return [moment for moment in ticks if scale.begin <= moment <= scale.end]


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M}"


def _path(points: Iterable[tuple[datetime, float]], scale: _Scale) -> str:
    return " ".join(f"{10 * scale.x(moment):.1f},{100 - 100 * share:.1f}" for moment, share in points)
