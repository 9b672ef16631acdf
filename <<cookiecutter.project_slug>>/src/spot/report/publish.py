"""Write the page of a closed run to the bucket, as `<prefix>/reports/<run_id>/report.html`."""

import logging
from datetime import datetime

from spot.accounting.cost import account
from spot.core.errors import SpotError
from spot.core.run import Observation, Run
from spot.report import page
from spot.storage.base import ABSENT, Conflict, Store

_log = logging.getLogger(__name__)


def publish(run: Run, observation: Observation | None, store: Store, now: datetime) -> str | None:
    """Write the page once and return its URI, or None after a failure.

    `store` is that of the ledger, `observation` is None if the bucket was not read. A failure is logged only, since
    no run may depend on its report.
    """
    name = f"reports/{run.id}/report.html"
    try:
        store.write(name, page.report(account(run, observation, now)).encode(), if_generation=ABSENT)
    except Conflict:  # an earlier or concurrent reconcile wrote it
        pass
    except SpotError as error:
        _log.warning("%s: cannot write %s: %s", run.id, name, error)
        return None
    except Exception:  # a defect in the page must not keep this run, or later runs, from closing
        _log.exception("%s: cannot write %s", run.id, name)
        return None
    return f"{store.uri}/{name}"
