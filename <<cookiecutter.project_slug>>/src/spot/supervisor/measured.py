"""Find how long a training takes: what the last succeeded run of the same training measured."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.core.fields import GENERATION
from spot.core.run import RunState, Spec
from spot.storage.base import Damaged, NewerFormat, Store
from spot.storage.records import completion
from spot.storage.records.ledger import Ledger

WITHIN = timedelta(days=92)
MOST_RUNS = 10
"""Closed runs to look at, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredWork:
    run: str
    work: timedelta
    tail: timedelta
    """The last save and the results, a part of `work`."""


def measured_work(ledger: Ledger, models: Store, spec: Spec, now: datetime) -> MeasuredWork | None:
    """Return the duration that the newest succeeded run on this machine with these arguments measured, if any.

    Raises `SpotError` if the bucket does not answer. A damaged record is skipped.
    """
    names = sorted(ledger.closed_since(now - WITHIN, now), key=lambda name: name.rpartition("/")[2], reverse=True)
    for name in names[:MOST_RUNS]:
        try:
            run = ledger.read_closed(name)
            succeeded = run.state is RunState.SUCCEEDED and _training(run.spec) == _training(spec)
            complete = completion.read(models, run.id) if succeeded else None
        except (Damaged, NewerFormat):
            continue
        if complete and complete.compute_seconds:
            tail = timedelta(seconds=complete.tail_seconds)
            return MeasuredWork(run=run.id, work=timedelta(seconds=complete.compute_seconds) + tail, tail=tail)
    return None


def _training(spec: Spec) -> tuple[object, ...]:
    """Return what the duration depends on; the data may have grown since."""
    return spec.machine, tuple(GENERATION.sub("", argument) for argument in spec.arguments)
