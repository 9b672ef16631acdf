"""Render reports of runs for terminal, Markdown, HTML and JSON."""

from datetime import datetime

from spot.core.run import Observation, Run
from spot.storage.base import Store


def publish(run: Run, seen: Observation | None, store: Store, models: Store, now: datetime) -> None:
    """Write the page of a run that has ended. A reconcile that closes no run loads no renderer."""
    from spot.report import page

    page.publish(run, seen, store, models, now)
