"""One GitHub issue for each run that failed, closed when a later run has succeeded.

What is due follows from the ledger and the issues alone: a pass that dies before it has reported is made up for by the
next one, and reporting twice opens nothing twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.core.run import Run, RunState
from spot.github.api import GitHub, Issue, IssuesOff
from spot.github.summary import state
from spot.storage.records.ledger import Ledger

MOST_LETTERS = 60_000
"""GitHub refuses a body of more than 65,536."""
_MARK = re.compile(r"<!-- spot run ([a-z0-9_-]+) -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is to be done about the issues."""

    to_open: tuple[Run, ...]
    to_close: tuple[Issue, ...]
    because: str
    """Why those are closed."""


def recent(ledger: Ledger, now: datetime) -> list[Run]:
    """The closed runs that were submitted in this month or the one before. Raises `SpotError`."""
    return [ledger.read_closed(name) for name in ledger.closed_since(now.replace(day=1) - timedelta(days=1), now)]


def due(runs: Sequence[Run], issues: Iterable[Issue]) -> Due:
    """`runs` are the recent ones, in any order. An issue about a run that is not there is about an older one."""
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
    """Do what is due; the runs whose issues were opened. `workflow_run` is the URL of this pass.

    In a repository without issues nothing is opened: the pass that saw a run fail is red, and that has to do.
    """
    found = due(runs, github.issues())
    for issue in found.to_close:
        github.close_issue(issue.number, found.because)
    try:
        for run in found.to_open:
            github.open_issue(f"Retraining {run.id} has failed", body(run, now, workflow_run))
    except IssuesOff:
        return ()
    return found.to_open


def body(run: Run, now: datetime, workflow_run: str) -> str:
    """The issue of a run that failed; the mark by which it is found again comes first, so that no cut loses it."""
    why = run.decisions[-1].reason if run.decisions else "no reason was recorded"
    parts = [
        f"<!-- spot run {run.id} -->",
        f"Seen by [this pass]({workflow_run}). The trainer's log: `spot logs {run.id}`. Its checkpoints are kept.",
        state(run, None, why, now),
        "This issue is closed by itself when a run that was submitted later has succeeded.",
    ]
    return "\n\n".join(parts)[:MOST_LETTERS]
