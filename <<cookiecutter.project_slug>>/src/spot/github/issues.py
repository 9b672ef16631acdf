"""Keep one GitHub issue per failed run, closed once a later run has succeeded.

The due changes follow from the ledger and the issues alone. So a reconcile that dies before its report is repaired by
the next one, and no issue is opened twice.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.core.run import Run, RunState
from spot.github.api import GitHub, Issue, IssuesOff
from spot.github.summary import state
from spot.storage.records.ledger import Ledger
from spot.supervisor.submit import OLDEST_ID

MOST_LETTERS = 60_000
"""GitHub refuses a body of more than 65,536."""
_MARK = re.compile(r"<!-- spot run ([a-z0-9_-]+) -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Hold the issues to open and to close."""

    to_open: tuple[Run, ...]
    to_close: tuple[Issue, ...]
    because: str
    """Why issues are closed."""


def recent(ledger: Ledger, now: datetime) -> tuple[list[Run], list[str]]:
    """Return the closed runs submitted this month or the previous one, and why others cannot be read.

    Raises `SpotError` if they cannot be listed.
    """
    since = (now.replace(day=1) - timedelta(days=1)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    dated = ledger.closed_since(since - OLDEST_ID, now)  # a re-run keeps the date of its workflow run
    found = [ledger.closed_or_reason(name) for name in dated]
    runs = [run for run in found if isinstance(run, Run) and run.submitted_at >= since]
    return runs, [reason for reason in found if isinstance(reason, str)]


def due(runs: Sequence[Run], issues: Iterable[Issue]) -> Due:
    """Compare the recent runs with the issues. An issue about a run that is not recent is about an older run."""
    succeeded = [run for run in runs if run.state is RunState.SUCCEEDED]
    success = max(succeeded, key=lambda run: run.submitted_at, default=None)
    newer = {run.id for run in runs if success is None or run.submitted_at > success.submitted_at}
    marked = [(found[1], issue) for issue in issues if (found := _MARK.search(issue.body))]
    known = {run_id for run_id, _ in marked}
    return Due(
        to_open=tuple(run for run in runs if run.state is RunState.FAILED and run.id in newer - known),
        to_close=tuple(issue for run_id, issue in marked if issue.is_open and success and run_id not in newer),
        because=f"Run `{success.id}` has succeeded since." if success else "",
    )


def report(runs: Sequence[Run], github: GitHub, now: datetime, *, workflow_run: str) -> tuple[Run, ...]:
    """Open and close the issues that are due, and return the runs of the opened ones.

    `workflow_run` is the URL of this workflow run. With issues disabled, the failed workflow run is the only report.
    """
    found = due(runs, github.issues())
    for issue in found.to_close:
        github.close_issue(issue.number, found.because)
    try:
        for run in found.to_open:
            github.open_issue(f"Retraining {run.id} failed", body(run, now, workflow_run))
    except IssuesOff:
        return ()
    return found.to_open


def body(run: Run, now: datetime, workflow_run: str) -> str:
    """Return the body of an issue. The mark that identifies it comes first, so that no cut removes it."""
    why = run.decisions[-1].reason if run.decisions else "no recorded reason"
    parts = [
        f"<!-- spot run {run.id} -->",
        f"Seen by [this workflow run]({workflow_run}). Log: `spot logs {run.id}`. The checkpoints are kept.",
        state(run, None, why, now),
        f"After a fix, continue from the newest checkpoint: `gh workflow run retrain.yml -f resume={run.id}`.",
        "This issue closes automatically when a later run has succeeded.",
    ]
    return "\n\n".join(parts)[:MOST_LETTERS]
