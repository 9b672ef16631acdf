"""What a workflow shows of runs, as Markdown: in its summary, and in the issue of a run that failed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from spot.accounting.cost import account
from spot.core.format import clock, hours
from spot.core.run import Attempt, Observation, Run, RunState
from spot.report import report_markdown
from spot.report.markdown import code, plain, table
from spot.report.mermaid import gantt
from spot.report.report_markdown import BADGES, LAST_ATTEMPTS, MOST_LETTERS, places
from spot.report.wording import deadline

LAST_DECISIONS = 12
MOST_BYTES = 900_000
"""GitHub drops a summary above 1 MiB, whole."""


def submitted(document: dict[str, Any], run: Run | None) -> str:
    """What `spot submit --json` said; `run` is the record as it stands, None after a dry run."""
    plan = document["plan"]
    facts = [
        ("image", f"`{plan['image']}`"),
        ("trainer", code(shlex.join(plan["arguments"]) or "its defaults")),
        ("first", plain(plan["first"])),
        ("deadline", _moment(plan["deadline"])),
        ("on-demand at the latest", _moment(plan["latest_on_demand"])),
        *[("⚠️ warning", plain(warning)) for warning in plan["warnings"]],
    ]
    head = f"## {'Plan of a run' if run is None else f'Run {run.id}'}"
    parts = [head, table(["", ""], facts)]
    if run is None:
        request = json.dumps(document["request"], indent=1)
        parts += ["Nothing was submitted: this was a dry run. The first request would be", f"```json\n{request}\n```"]
    else:
        parts += [f"Follow it with `spot status {run.id}`, or in the summaries of the workflow Supervise."]
        parts += [attempts(run)] if run.attempts else []
    if document.get("problem"):
        parts.append(f"⚠️ {plain(document['problem'])}. Supervise goes on with it.")
    return "\n\n".join(parts)


def submitted_before(run: Run, now: datetime) -> str:
    """The run that a submit has found in the place of its own."""
    goes_on = "Supervise goes on with it" if run.state is RunState.OPEN else "it has ended"
    head = "## Submitted before\n\nThis run of the workflow has begun a run, and begins no other when it is run again."
    return f"{head} For another one, start the workflow anew.\n\n{state(run, None, goes_on, now)}"


def passed(runs: Sequence[tuple[Run, Observation | None, str]], problems: Sequence[str], now: datetime) -> str:
    """A pass: each run that was open, what the bucket shows of it, and why the pass did no more."""
    head = ["## Supervise"] if runs or problems else ["## Supervise", "No run is open: nothing to do."]
    head += [f"⚠️ {plain(problem)}" for problem in problems]
    text = "\n\n".join([*head, *(state(run, seen, next_, now) for run, seen, next_ in runs)])
    return text if len(text.encode()) <= MOST_BYTES else "\n\n".join([*head, _table_of(runs)])


def state(run: Run, seen: Observation | None, next_: str, now: datetime) -> str:
    """How one run stands, with its attempts and its newest decisions: that of one that has ended is its report.

    `seen` is None if the bucket was not asked.
    """
    if run.state is not RunState.OPEN:
        return report_markdown.report(account(run, seen, now))
    facts = [
        ("state", f"{BADGES[run.state]} {run.state}"),
        *([("progress", _progress(seen))] if seen else []),
        ("deadline", f"{clock(run.spec.deadline)}, {deadline(account(run, seen, now))}"),
        ("spent", "not known" if (usd := run.usd_spent(now)) is None else f"at most &#36;{usd:.2f}"),
        ("waiting for", plain(next_)),
    ]
    parts = [f"### {run.id}", table(["", ""], facts)]
    if run.attempts:
        newest = replace(run, attempts=run.attempts[-LAST_ATTEMPTS:])
        parts += [f"```mermaid\n{gantt(newest, now)}\n```", attempts(newest)]
    if (hidden := len(run.attempts) - LAST_ATTEMPTS) > 0:
        parts.append(f"{hidden} earlier attempts are not shown: `spot status {run.id}` has all.")
    decided = [(clock(one.at), plain(one.action), plain(one.reason)) for one in run.decisions[-LAST_DECISIONS:]]
    if decided:
        parts.append(table(["at", "what", "why"], decided))
    return "\n\n".join(parts)


def attempts(run: Run) -> str:
    """A table of the attempts, with links."""
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


def _moment(text: str) -> str:
    return clock(datetime.fromisoformat(text))


def _table_of(runs: Sequence[tuple[Run, Observation | None, str]]) -> str:
    return table(["run", "state", "waiting for"], [(run.id, run.state, plain(next_)) for run, _, next_ in runs])
