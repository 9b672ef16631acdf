"""Write the report of a run that has ended into the bucket. A reconcile that closes no run loads no renderer."""

import logging
from collections.abc import Callable
from datetime import datetime

from spot.core.errors import SpotError
from spot.core.run import Observation, Run, RunState
from spot.storage.base import ABSENT, Conflict, Store

_log = logging.getLogger(__name__)


def publish(run: Run, observation: Observation | None, store: Store, models: Store, now: datetime) -> str | None:
    """Write the page, and the card beside the model, once. Return the URI of the page, or None after a failure.

    `store` is that of the ledger, `observation` is None if the bucket was not read. A failure is logged only, since
    no run may depend on its report.
    """
    from spot.accounting.cost import account
    from spot.report import model_card, page

    found = account(run, observation, now)
    if run.state is RunState.SUCCEEDED:
        _write(run, models, f"{run.id}/{model_card.NAME}", lambda: model_card.card(found, models))
    return _write(run, store, f"reports/{run.id}/report.html", lambda: page.report(found))


def _write(run: Run, store: Store, name: str, text: Callable[[], str]) -> str | None:
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
