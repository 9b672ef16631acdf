"""Render a report as Markdown, with Mermaid diagrams, for a workflow's summary, an issue or a file."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from spot.accounting.cost import Account
from spot.accounting.progress_curve import Curve, curve, horizon
from spot.core.format import counted
from spot.core.run import Attempt, Outcome, Run, RunState
from spot.report import rows
from spot.report.render import render

LAST_ATTEMPTS = 40
LAST_DECISIONS = 40
MOST_LETTERS = 300
"""Of an error message of Vertex AI."""
POINTS = 49
"""Of each line in the chart of progress, at equal distances."""
BADGES = {RunState.OPEN: "⏳", RunState.SUCCEEDED: "✅", RunState.FAILED: "❌", RunState.CANCELLED: "🚫"}
_AS_PLANNED = {None, Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.HANDED_OVER}


def report(account: Account) -> str:
    run, found, values = account.run, curve(account), rows.of_run(account)
    hidden = len(run.attempts) - LAST_ATTEMPTS
    newest = replace(run, attempts=run.attempts[-LAST_ATTEMPTS:])
    return render(
        "report.md.j2",
        **{**values, "attempts": values["attempts"][-LAST_ATTEMPTS:]},
        badge=BADGES[run.state],
        gantt=gantt(newest, account.end) if run.attempts else "",
        progress=progress(found, run.submitted_at, horizon(account)) if found and run.attempts else "",
        earlier=f"{counted(hidden, 'earlier attempt')} not shown" if hidden > 0 else "",
        most_letters=MOST_LETTERS,
        decisions=run.decisions[-LAST_DECISIONS:],
        decided=counted(len(run.decisions), "decision"),
    )


def gantt(run: Run, now: datetime) -> str:
    """Return a Mermaid chart of the attempts, a section for each region."""
    regions: dict[str, list[dict[str, str]]] = {}
    for attempt in run.attempts:
        regions.setdefault(attempt.region, []).extend(() if attempt.never_created else _bars(attempt, now))
    return render("gantt.mmd.j2", regions=regions, deadline=_time(run.spec.deadline))


def progress(found: Curve, begin: datetime, end: datetime) -> str:
    """Return a Mermaid chart of the work in checkpoints, and of the work due."""
    moments = [begin + (end - begin) * (number / (POINTS - 1)) for number in range(POINTS)]
    lines = {"done": map(found.done, moments), "due": map(found.due, moments)}
    percents = {name: ", ".join(f"{100 * share:.1f}" for share in line) for name, line in lines.items()}
    return render("progress.mmd.j2", hours=f"{(end - begin) / timedelta(hours=1):.2f}", **percents)


def _bars(attempt: Attempt, now: datetime) -> Iterator[dict[str, str]]:
    """Yield the wait and the work of an attempt."""
    end, name = attempt.ended_at or now, f"{attempt.id} {attempt.provisioning}"
    how = attempt.outcome or attempt.state.name.lower()
    if attempt.started_at is None:
        yield _bar(f"{name} waited - {how}", "done" if attempt.outcome else "active", attempt.intended_at, end)
    else:
        yield _bar(f"{name} waited", "done", attempt.intended_at, attempt.started_at)
        yield _bar(f"{name} {how}", "active" if attempt.outcome in _AS_PLANNED else "crit", attempt.started_at, end)


def _bar(name: str, tag: str, start: datetime, end: datetime) -> dict[str, str]:
    return {"name": name, "tag": tag, "start": _time(start), "end": _time(max(start, end))}


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
