"""A report as Markdown, for the summary of a workflow, an issue, or a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spot.accounting.cost import Account, Entry, Verdict
from spot.accounting.phases import Phase
from spot.accounting.progress_curve import curve, horizon
from spot.accounting.totals import Totals
from spot.core.format import clock, counted, hours
from spot.core.run import Attempt, RunState
from spot.google import console_urls
from spot.report import mermaid
from spot.report import wording as words
from spot.report.markdown import plain, table
from spot.report.wording import Headline

LAST_ATTEMPTS = 40
LAST_DECISIONS = 40
MOST_LETTERS = 300
"""Of what Vertex AI says about a failure."""
BADGES = {RunState.OPEN: "⏳", RunState.SUCCEEDED: "✅", RunState.FAILED: "❌", RunState.CANCELLED: "🚫"}


def report(account: Account) -> str:
    """One run: what it cost, where the time went, its attempts and decisions, each with what GitHub can draw of it."""
    run = account.run
    facts = [(name, _fact(account, name, text)) for name, text in words.facts(account)]
    if run.state is RunState.SUCCEEDED:
        facts.append(("model", _model(account)))
    parts = [f"### {run.id}", _headline(words.headline(account)), table(["", ""], facts)]
    if account.entries:
        shown = replace(run, attempts=run.attempts[-LAST_ATTEMPTS:])
        parts += [_drawn(mermaid.gantt(shown, account.end)), *_progress(account), *_phases(account)]
        parts += _attempts(account.entries)
    if run.decisions:
        parts += [_decisions(account)]
    return "\n\n".join([*parts, f"<sub>{words.UPPER_BOUND}</sub>"])


def many(totals: Totals) -> str:
    """A line for each run, and what they come to."""
    skipped = [f"⚠️ skipped: {plain(why)}" for why in totals.skipped]
    since = f"submitted since {clock(totals.since)}"
    if not totals.accounts:
        return "\n\n".join(["## Runs", f"No run {since} has ended.", *skipped])
    head = ["run", "state", ">cost", ">on-demand", ">saved", "deadline", ">preemptions", ">goodput"]
    rows = [_line(account) for account in totals.accounts]
    facts = [(name, plain(text)) for name, text in words.total_facts(totals)]
    parts = [f"## {counted(len(totals.accounts), 'run')} {since}", _headline(words.total_headline(totals))]
    return "\n\n".join([*parts, table(["", ""], facts), table(head, rows), *skipped])


def _line(account: Account) -> list[str]:
    run = account.run
    return [
        run.id,
        f"{BADGES[run.state]} {run.state}",
        plain("?" if account.usd is None else words.usd(account.usd)),
        plain(words.usd(account.on_demand.usd) if account.on_demand else "?"),
        _bold_if(plain(words.saved(account)), account.is_loss),
        _bold_if(words.brief_deadline(account), account.verdict is Verdict.MISSED),
        str(run.preemptions),
        "" if account.goodput is None else words.percent(account.goodput),
    ]


def _headline(headline: Headline) -> str:
    return f"{'🔴 ' if headline.is_loss else ''}**{plain(headline.text)}**"


def _fact(account: Account, name: str, text: str) -> str:
    badge = f"{BADGES[account.run.state]} " if name == "state" else ""
    return _bold_if(f"{badge}{plain(text)}", name == "deadline" and account.verdict is Verdict.MISSED)


def _model(account: Account) -> str:
    uri = account.run.model
    page = console_urls.storage(uri)
    return f"[{plain(uri)}]({page})" if page else plain(uri)


def _progress(account: Account) -> list[str]:
    found = curve(account)
    if found is None:
        return []
    chart = mermaid.progress(found, account.run.submitted_at, horizon(account))
    return [_drawn(chart), "Green: the work that was safe. Orange: the least that could still meet the deadline."]


def _phases(account: Account) -> list[str]:
    rows = [
        (str(phase), hours(took), plain(words.percent(share)), plain(words.MEANING[phase]))
        for phase, took, share in words.phases(account)
    ]
    if account.waiting:
        rows.append((words.WAITING, hours(account.waiting), "", words.WAITED))
    return [table(["what was paid for", ">time", ">of billed", ""], rows)] if account.billed else []


def _attempts(entries: Sequence[Entry]) -> list[str]:
    head = ["attempt", "where", "submitted", ">waited", ">billed", ">useful", ">cost", "outcome", "links"]
    hidden = len(entries) - LAST_ATTEMPTS
    earlier = [f"{counted(hidden, 'earlier attempt')} not shown: `spot report RUN --json` has all."]
    return [table(head, [_attempt(entry) for entry in entries[-LAST_ATTEMPTS:]]), *(earlier if hidden > 0 else [])]


def _attempt(entry: Entry) -> list[str]:
    attempt = entry.attempt
    said = f": {plain(words.said(entry)[:MOST_LETTERS])}" if words.said(entry) else ""
    return [
        attempt.id,
        words.where(entry),
        clock(attempt.intended_at),
        hours(entry.waited),
        hours(entry.billed) if entry.billed else "",
        hours(entry.phases[Phase.TRAINING]) if entry.billed else "",
        plain(words.cost(entry)),
        f"{words.how(entry)}{said}",
        places(attempt),
    ]


def places(attempt: Attempt) -> str:
    """Links to its job and to the log of that."""
    return f"[job]({console_urls.console(attempt.job)}) [log]({console_urls.logs(attempt.job)})" if attempt.job else ""


def _decisions(account: Account) -> str:
    made = account.run.decisions
    rows = [(clock(one.at), plain(one.action), plain(one.reason)) for one in made[-LAST_DECISIONS:]]
    of = f", the last {len(rows)}" if len(made) > len(rows) else ""
    head = f"<details><summary>{counted(len(made), 'decision')}{of}</summary>"
    return f"{head}\n\n{table(['at', 'what', 'why'], rows)}\n\n</details>"


def _bold_if(text: str, condition: bool) -> str:
    return f"**{text}**" if condition else text


def _drawn(diagram: str) -> str:
    return f"```mermaid\n{diagram}\n```"
