"""The attempts of a run as a Mermaid gantt, which GitHub draws in a summary and in an issue."""

from __future__ import annotations

from datetime import UTC, datetime

from spot.run import Attempt, Outcome, Run

_FINE = {None, Outcome.SUCCEEDED, Outcome.CANCELLED}


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
