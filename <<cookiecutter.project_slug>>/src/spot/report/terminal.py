"""Lay out a report for a terminal of 80 columns."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spot.accounting.cost import Account
from spot.accounting.totals import Totals
from spot.cli.tables import facts
from spot.core.format import clock, counted, short
from spot.core.run import Decision, RunState
from spot.google import console_urls
from spot.report import rows
from spot.report import wording as words
from spot.report.wording import Headline

BAR = 16
LAST_DECISIONS = 12
_LOSS = "bold red"


def report(account: Account) -> list[RenderableType]:
    """Return one run: its cost, its phases, its attempts and its newest decisions."""
    run, is_bad = account.run, rows.is_bad(account)
    told = [(name, _marked(text, bad=name == "deadline" and is_bad)) for name, text in words.facts(account)]
    parts: list[RenderableType] = [_headline(words.headline(account)), "", facts([("run", run.id), *told])]
    if account.billed:
        parts += ["", _title("What was paid for"), _phases(account)]
    if account.entries:
        parts += ["", _title("Attempts"), _attempts(account)]
    if run.decisions:
        parts += ["", _title("Decisions"), *_decisions(run.decisions)]
    return [*parts, "", *_places(account), "", Text(words.UPPER_BOUND, style="dim")]


def many(totals: Totals) -> list[RenderableType]:
    """Return a line for each run, and their totals."""
    skipped = [Text(f"skipped: {why}", style=_LOSS) for why in totals.skipped]
    since = f"submitted since {clock(totals.since)}"
    if not totals.accounts:
        return [f"No run {since} has ended.", *skipped]
    table = _table("run", ">cost", ">on-demand", ">saved", "deadline", ">preempted", ">goodput", gap=1)
    for row in map(rows.run_row, totals.accounts):
        saved, deadline = _marked(row.saved, bad=row.is_loss), _marked(row.deadline, bad=row.is_bad)
        table.add_row(row.id, row.cost, row.on_demand, saved, deadline, row.preemptions, row.goodput)
    head = [_headline(words.total_headline(totals)), Text(f"{counted(len(totals.accounts), 'run')} {since}")]
    return [*head, "", table, "", facts(words.total_facts(totals)), *skipped]


def _headline(headline: Headline) -> Text:
    return Text(headline.text, style=_LOSS if headline.is_loss else "bold")


def _title(text: str) -> Text:
    return Text(text, style="bold underline")


def _marked(text: str, *, bad: bool) -> Text:
    return Text(text, style=_LOSS if bad else "")


def _phases(account: Account) -> Table:
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "right", "left", "left"):
        table.add_column(justify=justify)  # type: ignore[arg-type]
    for row in rows.phase_rows(account):
        bar = Text("█" * max(round(BAR * row.share), 1) if row.share else "", style="red" if row.is_lost else "")
        table.add_row(row.name, row.time, row.percent, bar, Text(row.meaning, style="dim"))
    return table


def _attempts(account: Account) -> Table:
    table = _table("", "where", "submitted", ">billed", ">useful", ">cost", "outcome")
    for row in map(rows.attempt_row, account.entries):
        table.add_row(row.id, row.where, short(row.submitted), row.billed, row.useful, row.cost, row.outcome)
    return table


def _decisions(made: tuple[Decision, ...]) -> list[RenderableType]:
    newest = [(short(one.at), Text(f"{one.action}: {one.reason}")) for one in made[-LAST_DECISIONS:]]
    hidden = len(made) - len(newest)
    earlier = [Text(f"{counted(hidden, 'earlier one')}: see --html or --json", style="dim")] if hidden else []
    return [*earlier, facts(newest)]


def _places(account: Account) -> list[str]:
    run = account.run
    job = next((entry.attempt.job for entry in reversed(account.entries) if entry.attempt.job), None)
    model = [f"model  {run.model}"] if run.state is RunState.SUCCEEDED else []
    return [*model, *([f"log    {console_urls.logs(job)}", f"job    {console_urls.console(job)}"] if job else [])]


def _table(*heads: str, gap: int = 2) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    for head in heads:
        right = head.startswith(">")
        table.add_column(
            head.lstrip(">"), justify="right" if right else "left", overflow="fold", no_wrap=right or head == "deadline"
        )
    return table
