"""Keep one GitHub issue per failed run, deadline at risk and model to decide on, until a later run has succeeded.

The due changes follow from the ledger and the issues alone. So a reconcile that dies before its report is repaired by
the next one, and no issue is opened twice.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.core.run import Run, RunState
from spot.github.api import GitHub, Issue, IssuesOff
from spot.github.summary import state
from spot.promotion.rule import GateVerdict, recorded
from spot.report.render import plain
from spot.storage.records.ledger import Ledger

MOST_LETTERS = 60_000
"""GitHub refuses a body of more than 65,536."""
TITLES = {"run": " failed", "deadline": ": deadline at risk", "model": ": promote its model?"}
PROMOTED = "The model was promoted."
_MARK = re.compile(r"<!-- spot (run|deadline|model) ([a-z0-9_-]+) -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    to_open: tuple[tuple[str, Run], ...]
    """Each with the kind of its issue, one of `TITLES`."""
    to_close: tuple[tuple[Issue, str], ...]
    """Each with the reason."""


def recent(ledger: Ledger, now: datetime) -> tuple[list[Run], list[str]]:
    """Return the closed runs submitted this month or the previous one, and why others cannot be read.

    Raises `SpotError` if they cannot be listed.
    """
    since = (now.replace(day=1) - timedelta(days=1)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return ledger.submitted_since(since, now)


def due(runs: Sequence[Run], issues: Iterable[Issue], promoted: Collection[str] = ()) -> Due:
    """Compare the recent and the open runs with the issues. An issue about any other run is about an older run.

    A run that succeeds late leaves the issue about its deadline to a later run. `promoted` are the runs that were
    champion.
    """
    succeeded = [run for run in runs if run.state is RunState.SUCCEEDED]
    success = max(succeeded, key=lambda run: run.submitted_at, default=None)
    newer = {run.id for run in runs if success is None or run.submitted_at > success.submitted_at}
    wanted = {("run", run_id) for run_id in newer}
    wanted |= {("deadline", run_id) for run_id in {*newer, *([success.id] if success else [])}}
    settled = {("model", run_id) for run_id in promoted}
    if success and (made := recorded(success)) and made.action == GateVerdict.ASK:
        wanted |= {("model", success.id)} - settled
    marked = [((found[1], found[2]), issue) for issue in issues if (found := _MARK.search(issue.body))]
    missing = wanted - {mark for mark, _ in marked}
    return Due(
        to_open=tuple((kind, run) for run in runs for kind in _kinds(run) if (kind, run.id) in missing),
        to_close=tuple(
            (issue, PROMOTED if mark in settled else f"Run `{success.id}` has succeeded since." if success else "")
            for mark, issue in marked
            if issue.is_open and (mark in settled or (success and mark not in wanted))
        ),
    )


def report(
    runs: Sequence[Run],
    github: GitHub,
    now: datetime,
    *,
    workflow_run: str,
    promoted: Collection[str] = (),
    pace: str = "",
) -> tuple[Run, ...]:
    """Open and close the issues that are due, and return the runs that failed or are at risk among the opened ones.

    `workflow_run` is the URL of this workflow run, and `pace` a note on late reconciles.
    With issues disabled, the failed workflow run is the only report.
    """
    found = due(runs, github.issues(), promoted)
    for issue, reason in found.to_close:
        github.close_issue(issue.number, reason)
    try:
        for kind, run in found.to_open:
            github.open_issue(f"Retraining {run.id}{TITLES[kind]}", body(run, now, workflow_run, kind=kind, pace=pace))
    except IssuesOff:
        return ()
    return tuple(run for kind, run in found.to_open if kind != "model")


def _kinds(run: Run) -> Iterator[str]:
    if run.state is RunState.FAILED:
        yield "run"
    elif run.alarms:
        yield "deadline"
    if run.state is RunState.SUCCEEDED:
        yield "model"


def body(run: Run, now: datetime, workflow_run: str, *, kind: str = "run", pace: str = "") -> str:
    """Return the body of an issue. The mark that identifies it comes first, so that no cut removes it."""
    why = run.decisions[-1].reason if run.decisions else "no recorded reason"
    parts = [
        f"<!-- spot {kind} {run.id} -->",
        _advice(run, kind),
        f"Seen by [this workflow run]({workflow_run}). Log: `spot logs {run.id}`. The checkpoints are kept.",
        *([pace] if pace else []),
        state(run, None, why, now),
    ]
    return "\n\n".join(parts)[:MOST_LETTERS]


def _advice(run: Run, kind: str) -> str:
    closes = "This issue closes automatically when a later run has succeeded"
    if kind == "model":
        made, command = recorded(run), f"gh workflow run promote.yml -f run={run.id} -f reason=..."
        return (
            f"The gate asks: {plain(made.reason if made else '')}.\n\nThe champion stays in use until a person promotes"
            f" this model: `{command}`.\n\n{closes}, or this model is promoted."
        )
    advice = f"{plain('; '.join(map(str, run.alarms)))}. docs/operations.md says what to do about each alarm."
    if run.state is RunState.FAILED:
        advice = f"After a fix, continue from the newest checkpoint: `gh workflow run retrain.yml -f resume={run.id}`."
    return f"{advice}\n\n{closes}."
