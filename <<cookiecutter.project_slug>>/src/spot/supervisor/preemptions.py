"""Append real preemptions to the facts of the project: nothing can force one, and each is evidence."""

import logging
from datetime import datetime

from spot.core.errors import SpotError
from spot.core.run import Outcome, Run
from spot.storage.base import Store
from spot.storage.records import facts
from spot.storage.records.facts import Preemption
from spot.supervisor.training_status import TrainingStatus

_log = logging.getLogger(__name__)


def note(store: Store, status: TrainingStatus, before: Run, run: Run, now: datetime) -> None:
    """Record the attempts that were found preempted since `before`. No decision rests on it: a failure is logged."""
    known = {one.id for one in before.attempts if one.outcome}
    for attempt in run.attempts:
        if attempt.outcome is not Outcome.PREEMPTED or attempt.id in known or not (attempt.job and attempt.ended_at):
            continue
        try:
            starts = status.starts(run, attempt)
            one = Preemption(
                job=attempt.job,
                ended_at=attempt.ended_at,
                signal_at=starts.ended_at,
                saved_at=attempt.saved_at,
                code=attempt.error.code if attempt.error else 0,
                text=facts.quoted(attempt.error.message) if attempt.error else "",
                lag=now - attempt.ended_at,
            )
            facts.update(store, lambda found, one=one: found.with_preemption(one))  # type: ignore[misc]
        except SpotError as error:
            _log.warning("%s: the preemption of %s was not recorded: %s", run.id, attempt.id, error)
