"""Render runs as Markdown, for the summary of a workflow and the issue of a failed run."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from datetime import datetime

from spot.accounting.cost import account
from spot.core.format import clock, hours
from spot.core.run import Attempt, Observation, Run, RunState
from spot.report import markdown
from spot.report.markdown import BADGES, LAST_ATTEMPTS, MOST_LETTERS, gantt, places
from spot.report.render import code, plain, table
from spot.report.wording import deadline
from spot.supervisor.reconcile import describe
from spot.supervisor.service import RunsResult, SubmitResult
from spot.supervisor.submit import SubmitPlan

LAST_DECISIONS = 12
MOST_BYTES = 900_000
"""GitHub drops a whole summary above 1 MiB."""


def planned(plan: SubmitPlan) -> str:
    """Return the plan of a dry run, and the first request."""
    request = json.dumps(plan.request, indent=1)
    end = "Dry run: no run was submitted. The first request would be:"
    return "\n\n".join(["## Plan of a run", _plan(plan), end, f"```json\n{request}\n```"])


def submitted(result: SubmitResult) -> str:
    """Return the plan of a submitted run, and how its first reconcile went."""
    one, run_id = result.reconciled, result.plan.run.id
    parts = [f"## Run {run_id}", _plan(result.plan)]
    parts.append(f"Follow it with `spot status {run_id}`, or in the summaries of the workflow Supervise.")
    if one.run and one.run.attempts:
        parts.append(attempts(one.run))
    if one.problem:
        parts.append(f"⚠️ {plain(one.problem)}. The next reconcile continues the run.")
    return "\n\n".join(parts)


def submitted_before(run: Run, now: datetime) -> str:
    """Return the run that an earlier attempt of this workflow run submitted."""
    head = "## Submitted before\n\nThis workflow run has submitted a run, and a re-run submits no other."
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


def _plan(plan: SubmitPlan) -> str:
    spec = plan.run.spec
    facts = [
        ("image", f"`{spec.image}`"),
        ("trainer", code(shlex.join(spec.arguments) or "its defaults")),
        ("first", plain(describe(plan.action))),
        ("deadline", clock(spec.deadline)),
        ("latest on-demand start", clock(plan.slack.latest_on_demand_start)),
        *[("⚠️ warning", plain(line)) for line in (*plan.warnings, *plan.notes)],
    ]
    return table(["", ""], facts)


def state(run: Run, seen: Observation | None, waiting_for: str, now: datetime) -> str:
    """Return the standing, attempts and newest decisions of an open run, or the report of a closed one.

    `seen` is None if the bucket was not read.
    """
    if run.state is not RunState.OPEN:
        return markdown.report(account(run, seen, now))
    facts = [
        ("state", f"{BADGES[run.state]} {run.state}"),
        *([("progress", _progress(seen))] if seen else []),
        ("deadline", f"{clock(run.spec.deadline)}, {deadline(account(run, seen, now))}"),
        ("spent", "unknown" if (usd := run.usd_spent(now)) is None else f"at most &#36;{usd:.2f}"),
        ("waiting for", plain(waiting_for)),
    ]
    parts = [f"### {run.id}", table(["", ""], facts)]
    if run.attempts:
        newest = replace(run, attempts=run.attempts[-LAST_ATTEMPTS:])
        parts += [f"```mermaid\n{gantt(newest, now)}\n```", attempts(newest)]
    if (hidden := len(run.attempts) - LAST_ATTEMPTS) > 0:
        parts.append(f"{hidden} earlier attempts: `spot status {run.id}`")
    decided = [(clock(one.at), plain(one.action), plain(one.reason)) for one in run.decisions[-LAST_DECISIONS:]]
    if decided:
        parts.append(table(["at", "action", "reason"], decided))
    return "\n\n".join(parts)


def attempts(run: Run) -> str:
    """Return a table of the attempts, with links."""
    rows = [
        (one.id, one.provisioning, one.region, clock(one.intended_at), _ran(one), _steps(one), _how(one), places(one))
        for one in run.attempts
    ]
    return table(["attempt", "provisioning", "region", "submitted", "ran", "steps", "outcome", "links"], rows)


def _how(attempt: Attempt) -> str:
    said = f": {plain(attempt.error.message[:MOST_LETTERS])}" if attempt.error else ""
    return f"{attempt.outcome or attempt.state.name.lower()}{said}"


def _ran(attempt: Attempt) -> str:
    return hours(attempt.ended_at - attempt.started_at) if attempt.started_at and attempt.ended_at else ""


def _steps(attempt: Attempt) -> str:
    return f"{attempt.from_step} to {'' if attempt.last_step is None else attempt.last_step}"


def _progress(seen: Observation) -> str:
    if seen.completed_at:
        return f"complete since {clock(seen.completed_at)}"
    return f"{seen.progress.step} of {seen.progress.total_steps} steps" if seen.progress else "no checkpoint yet"
