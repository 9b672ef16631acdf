"""Find how long a training takes: what the last succeeded run of the same training measured."""

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.core.run import Run, RunState, Spec
from spot.storage.base import Damaged, NewerFormat, Store
from spot.storage.records import completion
from spot.storage.records.ledger import Ledger
from spot.storage.records.manifest import Json

WITHIN = timedelta(days=92)
MOST_RUNS = 10
"""Closed runs to look at, the newest first."""
LONGEST = timedelta(days=365)
_GENERATION = re.compile(r"#\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredWork:
    """Hold the duration of a training."""

    run: str
    """The run that measured it."""
    work: timedelta
    tail: timedelta
    """The last save and the results, a part of `work`."""


def measured_work(ledger: Ledger, models: Store, spec: Spec, now: datetime) -> MeasuredWork | None:
    """Return the duration that the newest succeeded run on this machine with these arguments measured, if any.

    Raises `SpotError` if the bucket does not answer. A damaged record is skipped.
    """
    for name in sorted(ledger.closed_since(now - WITHIN, now), key=_file_name, reverse=True)[:MOST_RUNS]:
        try:
            run = ledger.read_closed(name)
            if run.state is RunState.SUCCEEDED and _training(run.spec) == _training(spec):
                found = _measured(run, models)
                if found:
                    return found
        except (Damaged, NewerFormat):
            continue
    return None


def _file_name(name: str) -> str:
    return name.rpartition("/")[2]


def _training(spec: Spec) -> tuple[object, ...]:
    """Return what the duration depends on; the data may have grown since."""
    return spec.machine, tuple(_GENERATION.sub("", argument) for argument in spec.arguments)


def _measured(run: Run, models: Store) -> MeasuredWork | None:
    complete = completion.read(models, run.id)
    if complete is None:
        return None
    training, tail = (_duration(complete.values.get(key)) for key in ("compute_seconds", "tail_seconds"))
    if not training or tail is None:
        return None
    return MeasuredWork(run=run.id, work=training + tail, tail=tail)


def _duration(seconds: Json) -> timedelta | None:
    is_number = isinstance(seconds, int | float) and math.isfinite(seconds)
    return timedelta(seconds=seconds) if is_number and 0 <= seconds <= LONGEST.total_seconds() else None
