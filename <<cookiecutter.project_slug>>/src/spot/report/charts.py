"""Compute the charts of a report: attempts over time, and progress against the deadline.

X is in percent of the width, Y in pixels, so that text keeps its size on a phone. Markup is in `charts.svg.j2`,
colours are in `report.css`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from spot.accounting.cost import Account, AttemptCost
from spot.accounting.phases import Phase
from spot.accounting.progress_curve import Curve
from spot.core.format import clock, counted
from spot.core.run import Outcome, RunState
from spot.report import wording as words
from spot.report.rows import attempt_row

LANE, GAP, HEAD, FOOT = 22, 20, 30, 22
"""Pixels: a row of bars, the name of a region above it, the marks above all, the times below."""
CURVE = 150
MOST_TICKS = 6
WIDE_ENOUGH = 8.0
"""Percent of the width that the id of an attempt needs."""
THINNEST = 0.15
"""Percent of the width that the shortest bar gets, to stay visible."""
_STEPS = tuple(timedelta(minutes=m) for m in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200))
_UNMARKED = {None, Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.NO_CAPACITY, Outcome.QUOTA, Outcome.HANDED_OVER}
_ENDS = {RunState.OPEN: "now", RunState.FAILED: "failed", RunState.CANCELLED: "cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    begin: datetime
    end: datetime

    def x(self, moment: datetime) -> float:
        """Return the place of a moment in percent of the width; at the edge if it lies outside."""
        share = (moment - self.begin) / (self.end - self.begin)
        return 100 * min(max(share, 0.0), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Label:
    text: str
    x: float
    y: float
    style: str = ""


def timeline(account: Account, end: datetime) -> dict[str, Any]:
    """Return the attempts by region, from submit to `end`."""
    scale, y = _Scale(begin=account.run.submitted_at, end=end), HEAD
    regions, attempts, marks = list[_Label](), list[dict[str, Any]](), list[_Label]()
    for region, rows in _rows(account.attempts).items():
        regions.append(_Label(text=region, x=0, y=y + 13))
        y += GAP
        for row in rows:
            attempts += [_attempt(cost, account.end, y, scale) for cost in row]
            marks += [mark for cost in row for mark in _marks(cost, y, scale)]
            y += LANE + 4
    description = f"{counted(len(account.attempts), 'attempt')} in {', '.join(label.text for label in regions)}"
    return {
        "frame": _frame(account, f"{description}: {words.interruptions(account)}.", scale, y),
        "regions": regions,
        "attempts": attempts,
        "marks": marks,
        "provisionings": [*dict.fromkeys(cost.attempt.provisioning for cost in account.attempts if cost.billed)],
        "has_losses": bool(account.phases[Phase.LOST_WORK]),
        "has_hand_overs": any(cost.handed_over_at for cost in account.attempts),
    }


def progress(account: Account, found: Curve, end: datetime) -> dict[str, Any]:
    """Return the work in checkpoints, and the least work that could still meet the deadline.

    Points are in a box of 1000 by 100.
    """
    scale = _Scale(begin=account.run.submitted_at, end=end)
    bends = (scale.begin, found.deadline - found.work, found.deadline, end)
    due = [(moment, found.due(moment)) for moment in bends if scale.begin <= moment <= end]
    done = _path(found.points, scale)
    deadline = clock(account.run.spec.deadline)
    description = f"{words.progress(account) or 'no step in a checkpoint'}; the deadline is {deadline}."
    return {
        "frame": _frame(account, description, scale, HEAD + CURVE),
        "height": CURVE,
        "area": f"{done} {scale.x(found.points[-1][0]) * 10:.1f},100 0,100",
        "due": _path(due, scale),
        "done": done,
        "shares": (_Label(text="100 %", x=0, y=HEAD), _Label(text="50 %", x=0, y=HEAD + CURVE / 2)),
    }


def _rows(costs: Sequence[AttemptCost]) -> dict[str, list[list[AttemptCost]]]:
    """Return the attempts by region, in several rows where they overlap."""
    regions: dict[str, list[list[AttemptCost]]] = {}
    for cost in costs:
        rows = regions.setdefault(cost.attempt.region, [])
        begin = cost.attempt.intended_at
        free = next((row for row in rows if (until := row[-1].attempt.ended_at) and until <= begin), None)
        if free is None:
            rows.append(free := [])
        free.append(cost)
    return regions


def _attempt(cost: AttemptCost, now: datetime, y: float, scale: _Scale) -> dict[str, Any]:
    attempt, row = cost.attempt, attempt_row(cost)
    waited_until = attempt.started_at or attempt.ended_at or now
    bars = [*_bar("waited", attempt.intended_at, waited_until, y + 6, LANE - 12, scale)]
    for span in cost.spans:
        kind = "training" if span.phase is Phase.TRAINING else "rest"
        bars += _bar(f"{kind} {attempt.provisioning}", span.start, span.end, y, LANE, scale)
        if span.phase is Phase.LOST_WORK:
            bars += _bar("lost", span.start, span.end, y, LANE, scale)
    name = None
    if cost.spans:
        left, right = scale.x(cost.spans[0].start), scale.x(cost.spans[-1].end)
        name = _Label(text=attempt.id, x=(left + right) / 2, y=y + 15) if right - left >= WIDE_ENOUGH else None
    billed = f", billed {row['billed']} {row['cost']}" if cost.billed else ""
    description = f"{attempt.id}, {row['where']}: {row['outcome']}, waited {row['waited']}{billed}"
    return {"description": description, "bars": bars, "id": name}


def _bar(
    style: str, start: datetime, end: datetime, y: float, height: float, scale: _Scale
) -> Iterator[dict[str, Any]]:
    left, right = scale.x(start), scale.x(end)
    if right > left:
        yield {"style": style, "x": left, "y": y, "width": max(right - left, THINNEST), "height": height}


def _marks(cost: AttemptCost, y: float, scale: _Scale) -> Iterator[_Label]:
    """Yield what ended an attempt, and where it replaced another attempt."""
    attempt, middle = cost.attempt, y + LANE / 2
    if attempt.ended_at and attempt.outcome not in _UNMARKED:
        style = "preempted" if attempt.outcome is Outcome.PREEMPTED else "failed"
        description = f"{attempt.outcome}, {clock(attempt.ended_at)}"
        yield _Label(text=description, x=scale.x(attempt.ended_at), y=middle, style=style)
    if at := cost.handed_over_at:
        description = f"replaced {attempt.replaces}, {clock(at)}"
        yield _Label(text=description, x=scale.x(at), y=middle, style="handed-over")


def _frame(account: Account, description: str, scale: _Scale, bottom: float) -> dict[str, Any]:
    """Return the times below a chart, the end of the run, and the deadline if it is in sight."""
    run = account.run
    end = "model" if account.is_complete else _ENDS[run.state]
    moments = [_Label(style="end", text=f"{end} {clock(account.end)[11:16]}", x=scale.x(account.end), y=24)]
    if (due := run.spec.deadline) <= scale.end:
        moments.append(_Label(style="deadline", text=f"deadline {clock(due)[11:16]}", x=scale.x(due), y=11))
    ticks = [_tick(moment, scale, bottom) for moment in _ticks(scale)]
    place = {"head": HEAD, "bottom": bottom, "height": bottom + FOOT}
    return {"description": description, "ticks": ticks, "moments": moments, **place}


def _tick(moment: datetime, scale: _Scale, bottom: float) -> _Label:
    x, midnight = scale.x(moment), moment.hour == moment.minute == 0
    text = f"{moment.day} {moment:%b}" if midnight else clock(moment)[11:16]
    return _Label(text=text, x=x, y=bottom + 15, style="first" if x < 4 else "left" if x > 96 else "")


def _ticks(scale: _Scale) -> list[datetime]:
    """Return round times, few enough for a phone."""
    whole = scale.end - scale.begin
    step = next((step for step in _STEPS if whole / step <= MOST_TICKS), whole)
    day = scale.begin.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = day + step * -((day - scale.begin) // step)
    ticks = [first + step * number for number in range(MOST_TICKS + 1)]
    return [moment for moment in ticks if scale.begin <= moment <= scale.end]


def _path(points: Iterable[tuple[datetime, float]], scale: _Scale) -> str:
    return " ".join(f"{10 * scale.x(moment):.1f},{100 - 100 * share:.1f}" for moment, share in points)
