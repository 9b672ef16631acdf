"""Render a report as one HTML page: no network, no script, light and dark, for a phone and for paper."""

from spot.accounting.cost import Account, Verdict
from spot.accounting.progress_curve import curve, horizon
from spot.accounting.totals import Totals
from spot.core.format import clock, counted
from spot.core.run import RunState
from spot.google import console_urls
from spot.report import charts, rows
from spot.report import wording as words
from spot.report.render import render


def report(account: Account) -> str:
    """Return the page of one run."""
    run, headline, end, found = account.run, words.headline(account), horizon(account), curve(account)
    return render(
        "report.html.j2",
        title=f"{run.id}: {headline.text}",
        as_of=account.end,
        upper_bound=words.UPPER_BOUND,
        run=run,
        headline=headline,
        lead=_lead(account),
        is_bad=rows.is_bad(account),
        facts=words.facts(account)[1:],
        model=run.model if run.state is RunState.SUCCEEDED else "",
        model_url=console_urls.storage(run.model),
        timeline=charts.timeline(account, end) if account.attempts else None,
        progress=charts.progress(account, found, end) if found else None,
        phases=[*rows.phase_rows(account)],
        attempts=[rows.attempt_row(cost) for cost in account.attempts],
        decisions_title=counted(len(run.decisions), "decision"),
    )


def many(totals: Totals) -> str:
    """Return the page of many runs."""
    headline = words.total_headline(totals)
    return render(
        "runs.html.j2",
        title=f"Runs: {headline.text}",
        as_of=totals.until,
        upper_bound=words.UPPER_BOUND,
        since=clock(totals.since),
        headline=headline,
        facts=words.total_facts(totals) if totals.accounts else [],
        runs=[rows.run_row(account) for account in totals.accounts],
        skipped=totals.skipped,
    )


def _lead(account: Account) -> str:
    due = words.deadline(account)
    text = due if account.verdict is Verdict.NO_MODEL else f"{words.state(account)}. Deadline {due}"
    return f"{text[0].upper()}{text[1:]}."
