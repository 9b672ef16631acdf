"""Render a report as one HTML page and publish it: no network, no script, light and dark, for a phone and for paper."""

import logging
from collections.abc import Callable
from datetime import datetime

from spot.accounting.cost import Account, account
from spot.accounting.progress_curve import curve, horizon
from spot.core.errors import SpotError
from spot.core.format import counted
from spot.core.run import Observation, Run, RunState
from spot.report import charts, model_card, rows
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


def _lead(account: Account) -> str:
    state = words.state(account)
    due = "" if account.to_spare is None else f" Deadline {words.deadline(account)}."
    return f"{state[0].upper()}{state[1:]}.{due}"


def publish(run: Run, observation: Observation | None, store: Store, models: Store, now: datetime) -> str | None:
    """Write the page, and the card beside the model, once. Return the URI of the page, or None after a failure.

    `store` is that of the ledger, `observation` is None if the bucket was not read. A failure is logged only, since
    no run may depend on its report.
    """
    found = account(run, observation, now)
    if run.state is RunState.SUCCEEDED:
        _publish(run, models, f"{run.id}/{model_card.NAME}", lambda: model_card.card(found, models))
    return _publish(run, store, f"reports/{run.id}/report.html", lambda: report(found))


def _publish(run: Run, store: Store, name: str, text: Callable[[], str]) -> str | None:
    try:
        store.write(name, text().encode(), if_generation=ABSENT)
    except Conflict:  # an earlier or concurrent reconcile wrote it
        pass
    except SpotError as error:
        _log.warning("%s: cannot write %s: %s", run.id, name, error)
        return None
    except Exception:  # a defect in the page must not keep this run, or later runs, from closing
        _log.exception("%s: cannot write %s", run.id, name)
        return None
    return f"{store.uri}/{name}"
