"""Lay out a report for a terminal of 80 columns."""

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spot.accounting.cost import Account, Totals
from spot.accounting.phases import Phase
from spot.core.format import clock, counted, percent, short
from spot.core.run import RunState
from spot.core.tables import LAST_DECISIONS, decisions, facts, table
from spot.google import console_urls
from spot.report import rows
from spot.report import wording as words

BAR = 16


def report(account: Account) -> list[RenderableType]:
    run, bad = account.run, {"ALARM", *(["deadline"] if rows.is_bad(account) else [])}
    lines = [(name, _marked(text, bad=name in bad)) for name, text in words.facts(account)]
    headline = _headline(words.headline(account), account.is_loss)
    parts: list[RenderableType] = [headline, "", facts([("run", run.id), *lines])]
    if measured := rows.evaluation_rows(account):
        evaluation = table(*(f">{head}" if number else head for number, head in enumerate(measured[0])))
        for row in measured[1:]:
            evaluation.add_row(*row)
        parts += ["", _title("Score on the held-out samples"), evaluation]
    if account.billed:
        parts += ["", _title("What was paid for"), _phases(account)]
    if account.attempts:
        parts += ["", _title("Attempts"), _attempts(account)]
    if run.decisions:
        parts += ["", _title("Decisions"), *decisions(run.decisions, LAST_DECISIONS, "see --html or --json")]
    return [*parts, "", *_places(account), "", Text(words.UPPER_BOUND, style="dim")]


def many(totals: Totals) -> list[RenderableType]:
    skipped = [_marked(f"skipped: {why}", bad=True) for why in totals.skipped]
    since = f"submitted since {clock(totals.since)}"
    if not totals.accounts:
        return [f"No run {since} has ended.", *skipped]
    whole = ("cost", "on-demand", "saved", "deadline", "preempted", "goodput")
    runs = table("run", ">cost", ">on-demand", ">saved", "deadline", ">preempted", ">goodput", gap=1, whole=whole)
    for one in totals.accounts:
        runs.add_row(
            one.run.id,
            "?" if one.usd is None else words.usd(one.usd),
            words.usd(one.on_demand.usd) if one.on_demand else "?",
            _marked(words.saved(one), bad=one.is_loss),
            _marked(words.deadline(one), bad=rows.is_bad(one)),
            str(one.run.preemptions),
            "" if one.goodput is None else percent(one.goodput),
        )
    head = [_headline(words.total_headline(totals), totals.is_loss)]
    head.append(Text(f"{counted(len(totals.accounts), 'run')} {since}"))
    return [*head, "", runs, "", facts(words.total_facts(totals)), *skipped]


def _headline(text: str, is_loss: bool) -> Text:
    return Text(text, style="bold red" if is_loss else "bold")


def _title(text: str) -> Text:
    return Text(text, style="bold underline")


def _marked(text: str, *, bad: bool) -> Text:
    return Text(text, style="bold red" if bad else "")


def _phases(account: Account) -> Table:
    phases = Table.grid("", "", "", "", "", padding=(0, 2))
    phases.columns[1].justify = phases.columns[2].justify = "right"
    for row in rows.phase_rows(account):
        width = max(round(BAR * row["share"]), 1) if row["share"] else 0
        bar = Text("█" * width, style="red" if row["name"] == Phase.LOST_WORK else "")
        phases.add_row(row["name"], row["time"], row["percent"], bar, Text(row["meaning"], style="dim"))
    return phases


def _attempts(account: Account) -> Table:
    whole = ("billed", "useful", "cost")
    attempts = table("", "where", "submitted", ">billed", ">useful", ">cost", "outcome", whole=whole)
    for row in map(rows.attempt_row, account.attempts):
        submitted = short(row["submitted"])
        attempts.add_row(row["id"], row["where"], submitted, *(row[name] for name in (*whole, "outcome")))
    return attempts


def _places(account: Account) -> list[str]:
    run, jobs = account.run, [attempt.job for attempt in account.run.attempts if attempt.job]
    model = [f"model  {run.model}"] if run.state is RunState.SUCCEEDED else []
    links = [f"log    {console_urls.logs(jobs[-1])}", f"job    {console_urls.console(jobs[-1])}"] if jobs else []
    return [*model, *links]
