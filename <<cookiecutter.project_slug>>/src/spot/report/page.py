"""Render a report as one HTML page and publish it: no network, no script, light and dark, for a phone and for paper."""

import logging
from datetime import datetime

from spot.accounting.cost import Account, Totals, Verdict, account
from spot.accounting.progress_curve import curve, horizon
from spot.core.errors import SpotError
from spot.core.format import counted
from spot.core.run import Observation, Run
from spot.report import charts, rows
from spot.report import wording as words
from spot.report.render import render
from spot.storage.base import ABSENT, Conflict, Store

_log = logging.getLogger(__name__)


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


def many(totals: Totals) -> str:
    values = rows.of_runs(totals)
    return render("runs.html.j2", **values, title=f"Runs: {values['headline']}", as_of=totals.until)


def _lead(account: Account) -> str:
    due = words.deadline(account)
    text = due if account.verdict is Verdict.NO_MODEL else f"{words.state(account)}. Deadline {due}"
    return f"{text[0].upper()}{text[1:]}."


def publish(run: Run, observation: Observation | None, store: Store, now: datetime) -> str | None:
    """Write the page once and return its URI, or None after a failure.

    `store` is that of the ledger, `observation` is None if the bucket was not read. A failure is logged only, since
    no run may depend on its report.
    """
    name = f"reports/{run.id}/report.html"
    try:
        store.write(name, report(account(run, observation, now)).encode(), if_generation=ABSENT)
    except Conflict:  # an earlier or concurrent reconcile wrote it
        pass
    except SpotError as error:
        _log.warning("%s: cannot write %s: %s", run.id, name, error)
        return None
    except Exception:  # a defect in the page must not keep this run, or later runs, from closing
        _log.exception("%s: cannot write %s", run.id, name)
        return None
    return f"{store.uri}/{name}"
