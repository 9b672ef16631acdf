"""Render runs as Markdown, for the summary of a workflow and the issue of a failed run."""

import json
import logging
from datetime import datetime

from spot.accounting.cost import account
from spot.core.format import clock
from spot.core.run import Observation, Run, RunState
from spot.report import markdown
from spot.report.render import plain, render, table
from spot.storage.records.champion import Champion, Promotion
from spot.supervisor.service import RunsResult, SubmitResult
from spot.supervisor.submit import SubmitPlan

MOST_BYTES = 900_000
"""GitHub drops a whole summary above 1 MiB."""

MOST_PROMOTIONS = 20

_log = logging.getLogger(__name__)


def planned(plan: SubmitPlan) -> str:
    request = json.dumps(plan.request, indent=1)
    end = "Dry run: no run was submitted. The first request would be:"
    return "\n\n".join(["## Plan of a run", _plan(plan), end, f"```json\n{request}\n```"])


def submitted(result: SubmitResult, now: datetime) -> str:
    """Return the plan of a submitted run, and how it stands after its first reconcile."""
    one, run = result.reconciled, result.reconciled.run or result.plan.run
    problem = [f"⚠️ {plain(one.problem)}. The next reconcile continues the run."] if one.problem else []
    parts = [f"## Run {run.id}", _plan(result.plan), *problem, state(run, one.seen, one.waiting_for, now)]
    return "\n\n".join(
        [*parts, f"Follow it with `spot status {run.id}`, or in the summaries of the workflow Supervise."]
    )


def skipped(plan: SubmitPlan) -> str:
    """Return why no run was submitted."""
    run = plan.repeats
    reason = f"data, sources of the image, configuration and machine are those of run {run}, which has succeeded"
    return f"No run was submitted: {reason}. The workflow's button retrains anyway."


def submitted_before(run: Run, now: datetime) -> str:
    """Return the run that an earlier attempt of this workflow run submitted."""
    head = "## Submitted before\n\nThis workflow run submitted a run earlier, and a re-run does not submit it again."
    waiting_for = "the next reconcile" if run.state is RunState.OPEN else "nothing"
    return f"{head} To submit another run, start the workflow anew.\n\n{state(run, None, waiting_for, now)}"


def reconciled(result: RunsResult, now: datetime) -> str:
    """Return a reconcile: each run, what it waits for, and every problem."""
    read = [(one.run, one) for one in result.runs if one.run]
    problems = [f"⚠️ {plain(f'{one.run_id}: {one.problem}')}" for one in result.runs if one.problem]
    head = ["## Supervise", *problems] if result.runs else ["## Supervise", "No run is open."]
    text = "\n\n".join([*head, *(state(run, one.seen, one.waiting_for, now) for run, one in read)])
    if len(text.encode()) <= MOST_BYTES:
        return text
    rows = [(run.id, run.state, plain(one.waiting_for)) for run, one in read]
    return "\n\n".join([*head, table(["run", "state", "waiting for"], rows)])


def champion(found: Champion) -> str:
    """Return the model in use, the promotions newest first, and a chart of their scores."""
    if not found.now:
        return "## Champion\n\nNo model is in use yet."
    newest = found.promotions[:MOST_PROMOTIONS]
    rows = [
        (str(one.number), one.run, clock(one.at), one.how, plain(one.by), _score(one), plain(one.reason))
        for one in newest
    ]
    parts = [f"## Champion {found.run}", table(["", "run", "promoted", "how", "by", ">score", "why"], rows)]
    if len(scored := [one for one in reversed(newest) if one.score is not None]) > 1:
        chart = render("scores.mmd.j2", numbers=[one.number for one in scored], scores=[one.score for one in scored])
        parts.append(f"```mermaid\n{chart}\n```")
    return "\n\n".join(parts)


def _score(promotion: Promotion) -> str:
    return "" if promotion.score is None else f"{promotion.score:.4g}"


def _plan(plan: SubmitPlan) -> str:
    return table(["", ""], [(name, plain(text)) for name, text in plan.facts])


def state(run: Run, seen: Observation | None, waiting_for: str, now: datetime) -> str:
    """Return the report of a run, and what an open run waits for. `seen` is None if the bucket was not read."""
    try:
        text = markdown.report(account(run, seen, now))
    except Exception:  # a defect in one report must not hide the other runs and their alarms
        _log.exception("%s: no report", run.id)
        text = f"### {run.id}\n\nThe report failed: see the log of this step."
    return f"{text}\n\nWaiting for: {plain(waiting_for)}" if run.state is RunState.OPEN else text
