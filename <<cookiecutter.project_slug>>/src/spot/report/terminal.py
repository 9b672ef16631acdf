"""A report on the terminal. Nothing is printed here."""

from __future__ import annotations

from datetime import timedelta

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spot.accounting.cost import Account, Verdict
from spot.accounting.phases import Phase
from spot.accounting.totals import Totals
from spot.cli.tables import facts
from spot.core.format import clock, counted, hours, short
from spot.core.run import RunState
from spot.google import console_urls
from spot.report import wording as words
from spot.report.wording import Headline

BAR = 16
LAST_DECISIONS = 12
_LOSS = "bold red"


def report(account: Account) -> list[RenderableType]:
    """One run: what it cost, where the time went, its attempts and decisions. 80 columns hold it."""
    run = account.run
    parts: list[RenderableType] = [_headline(words.headline(account)), ""]
    parts.append(facts([("run", run.id), *((name, _fact(account, name, text)) for name, text in words.facts(account))]))
    if account.billed:
        parts += ["", _title("What was paid for"), _phases(account)]
    if account.entries:
        parts += ["", _title("Attempts"), _attempts(account)]
    if run.decisions:
        parts += ["", _title("Decisions"), *_decisions(account)]
    return [*parts, "", *_places(account), "", Text(words.UPPER_BOUND, style="dim")]


def many(totals: Totals) -> list[RenderableType]:
    """A line for each run, and what they come to."""
    skipped = [Text(f"skipped: {why}", style=_LOSS) for why in totals.skipped]
    since = f"submitted since {clock(totals.since)}"
    if not totals.accounts:
        return [f"No run {since} has ended.", *skipped]
    table = _table("run", ">cost", ">on-demand", ">saved", "deadline", ">preempted", ">goodput", gap=1)
    for one in totals.accounts:
        table.add_row(*_line(one))
    head = [_headline(words.total_headline(totals)), Text(f"{counted(len(totals.accounts), 'run')} {since}")]
    return [*head, "", table, "", facts(words.total_facts(totals)), *skipped]


def _line(account: Account) -> list[str | Text]:
    saved = Text(words.saved(account), style=_LOSS if account.is_loss else "")
    verdict = Text(words.brief_deadline(account), style=_LOSS if _is_bad(account) else "")
    goodput = "" if account.goodput is None else words.percent(account.goodput)
    on_demand = words.usd(account.on_demand.usd) if account.on_demand else "?"
    cost = "?" if account.usd is None else words.usd(account.usd)
    return [account.run.id, cost, on_demand, saved, verdict, str(account.run.preemptions), goodput]


def _headline(headline: Headline) -> Text:
    return Text(headline.text, style=_LOSS if headline.is_loss else "bold")


def _title(text: str) -> Text:
    return Text(text, style="bold underline")


def _fact(account: Account, name: str, text: str) -> Text:
    return Text(text, style=_LOSS if name == "deadline" and _is_bad(account) else "")


def _is_bad(account: Account) -> bool:
    return account.verdict is Verdict.MISSED or account.run.state is RunState.FAILED


def _phases(account: Account) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(5):
        table.add_column()
    table.columns[1].justify = table.columns[2].justify = "right"
    for phase, took, share in words.phases(account):
        bar = Text("█" * max(round(BAR * share), 1), style="red" if phase is Phase.REPLAYED else "")
        table.add_row(phase, hours(took), words.percent(share), bar, Text(words.MEANING[phase], style="dim"))
    if account.waiting:
        table.add_row(words.WAITING, hours(account.waiting), "", "", Text(words.WAITED, style="dim"))
    return table


def _attempts(account: Account) -> Table:
    table = _table("", "where", "submitted", ">billed", ">useful", ">cost", "outcome")
    for entry in account.entries:
        table.add_row(
            entry.attempt.id,
            words.where(entry),
            short(entry.attempt.intended_at),
            _hours(entry.billed),
            _hours(entry.phases[Phase.TRAINING]),
            words.cost(entry),
            words.how(entry),
        )
    return table


def _decisions(account: Account) -> list[RenderableType]:
    made = account.run.decisions
    newest = [(short(one.at), Text(f"{one.action}: {one.reason}")) for one in made[-LAST_DECISIONS:]]
    hidden = len(made) - len(newest)
    earlier = [Text(f"{counted(hidden, 'earlier one')}: see --html or --json", style="dim")] if hidden else []
    return [*earlier, facts(newest)]


def _places(account: Account) -> list[str]:
    run = account.run
    job = next((one.attempt.job for one in reversed(account.entries) if one.attempt.job), None)
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


def _hours(duration: timedelta) -> str:
    return hours(duration) if duration else ""
