"""The page of a run that has ended, left in the bucket: `<prefix>/reports/<run_id>/report.html`."""

from __future__ import annotations

import logging
from datetime import datetime

from spot.accounting.cost import account
from spot.core.errors import SpotError
from spot.core.run import Observation, Run
from spot.report import page
from spot.storage.base import ABSENT, Conflict, Store

_log = logging.getLogger(__name__)


def publish(run: Run, seen: Observation | None, store: Store, now: datetime) -> str | None:
    """Write it, once; where it lies, or None if that failed.

    `store` is that of the ledger, `seen` is None if the bucket was not asked. No run depends on its report: one that
    cannot be written is a warning.
    """
    name = f"reports/{run.id}/report.html"
    try:
        store.write(name, page.report(account(run, seen, now)).encode(), if_generation=ABSENT)
    except Conflict:  # somebody did before
        pass
    except SpotError as error:
        _log.warning("%s: no report was left in the bucket: %s", run.id, error)
        return None
    except Exception:  # a mistake in the page must not keep this run, and those after it, from its end
        _log.exception("%s: no report was left in the bucket", run.id)
        return None
    return f"{store.uri}/{name}"
