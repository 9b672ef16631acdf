"""A run in Mermaid, which GitHub draws in a summary and in an issue: its attempts, and its progress."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from spot.accounting.progress_curve import Curve
from spot.core.run import Attempt, Outcome, Run

POINTS = 49
"""Of a line in a chart; they are equally far apart."""
DONE, DUE = "#1f7a6d", "#c2410c"
_LOOK = {
    "xyChart": {"width": 900, "height": 340},
    "themeVariables": {"xyChart": {"plotColorPalette": f"{DONE}, {DUE}"}},
}
_FINE = {None, Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.HANDED_OVER}


def gantt(run: Run, now: datetime) -> str:
    """One section for each region, in it the wait and the work of each attempt; times are UTC.

    Every word in it is one of ours or was checked: Mermaid has no way to quote a colon or a comma.
    """
    lines = ["gantt", "    dateFormat YYYY-MM-DD HH:mm:ss", "    axisFormat %d %H:%M", "    todayMarker off"]
    for region in dict.fromkeys(attempt.region for attempt in run.attempts):
        lines.append(f"    section {region}")
        for attempt in run.attempts:
            if attempt.region == region and not attempt.never_created:
                lines += [f"    {bar}" for bar in _bars(attempt, now)]
    lines += ["    section run", f"    deadline :milestone, crit, {_time(run.spec.deadline)}, 0s"]
    return "\n".join(lines)


def progress(curve: Curve, begin: datetime, end: datetime) -> str:
    """The share of the work that is safe, and the share that is due (syntax: mermaid.js.org/syntax/xyChart.html).

    The chart has no key: whoever shows it says which line is which, by `DONE` and `DUE`.
    """
    moments = [begin + (end - begin) * (number / (POINTS - 1)) for number in range(POINTS)]
    return "\n".join(
        [
            f"%%{{init: {json.dumps(_LOOK)}}}%%",
            "xychart-beta",
            f'    x-axis "hours since submit" 0 --> {(end - begin) / timedelta(hours=1):.2f}',
            '    y-axis "% of the work" 0 --> 100',
            f"    line [{', '.join(_percent(curve.done(moment)) for moment in moments)}]",
            f"    line [{', '.join(_percent(curve.due(moment)) for moment in moments)}]",
        ]
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _bars(attempt: Attempt, now: datetime) -> list[str]:
    end = attempt.ended_at or now
    name = f"{attempt.id} {attempt.provisioning}"
    how = attempt.outcome or attempt.state.name.lower()
    if attempt.started_at is None:
        return [_bar(f"{name} waited - {how}", "done" if attempt.outcome else "active", attempt.intended_at, end)]
    return [
        _bar(f"{name} waited", "done", attempt.intended_at, attempt.started_at),
        _bar(f"{name} {how}", "active" if attempt.outcome in _FINE else "crit", attempt.started_at, end),
    ]


def _bar(name: str, tag: str, start: datetime, end: datetime) -> str:
    return f"{name} :{tag}, {_time(start)}, {_time(max(start, end))}"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
