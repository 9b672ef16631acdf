"""Render a report as one HTML page: no network, no script, light and dark, for a phone and for paper."""

from spot.accounting.cost import Account
from spot.accounting.progress_curve import curve, horizon
from spot.core.format import counted
from spot.report import charts, rows
from spot.report import wording as words
from spot.report.render import render


def report(account: Account) -> str:
    values, end, found = rows.of_run(account), horizon(account), curve(account)
    return render(
        "report.html.j2",
        **{**values, "facts": values["facts"][1:]},
        title=f"{account.run.id}: {values['headline']}",
        as_of=account.end,
        lead=_lead(account),
        timeline=charts.timeline(account, end) if account.attempts else None,
        progress=charts.progress(account, found, end) if found else None,
        decisions_title=counted(len(account.run.decisions), "decision"),
    )


def _lead(account: Account) -> str:
    state = words.state(account)
    due = "" if account.to_spare is None else f" Deadline {words.deadline(account)}."
    return f"{state[0].upper()}{state[1:]}.{due}"
