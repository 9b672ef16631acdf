"""Test that a real preemption becomes a fact of the project, and that nothing depends on it."""

from __future__ import annotations

from datetime import timedelta

from spot.core.errors import TemporarilyUnavailable
from spot.core.run import Attempt, Observation, Outcome, Run
from spot.storage.base import Object
from spot.storage.records import facts
from spot.storage.records.facts import Preemption
from spot.storage.records.markers import AttemptStarts
from spot.supervisor.observe import note_preemptions
from tests.machinery import samples
from tests.machinery.samples import after
from tests.machinery.storage.memory import MemoryStore


class Marked:
    """A `TrainingStatus` whose trainer ended after SIGTERM."""

    def observe(self, run: Run) -> Observation:
        raise NotImplementedError

    def starts(self, run: Run, attempt: Attempt) -> AttemptStarts:  # noqa: ARG002  # a TrainingStatus
        return AttemptStarts(count=1, exit_code=143, ended_at=after(minutes=59))


def noted(store: MemoryStore, outcome: Outcome, before: Outcome | None = None) -> tuple[Preemption, ...]:
    ended = samples.ended(outcome, ended_at=after(minutes=60), saved_at=after(minutes=55), error=samples.stockout())
    run = samples.run(ended)
    earlier = samples.run(ended if before else samples.attempt())
    note_preemptions(store, Marked(), earlier, run, after(minutes=62))
    return facts.read(store).preemptions


def test_a_preemption_is_recorded_with_signal_checkpoint_text_code_and_lag() -> None:
    [found] = noted(MemoryStore(), Outcome.PREEMPTED)
    assert found == Preemption(
        job=samples.ATTEMPT.job or "",
        ended_at=after(minutes=60),
        signal_at=after(minutes=59),
        saved_at=after(minutes=55),
        code=samples.stockout().code,
        text=samples.stockout().message,
        lag=timedelta(minutes=2),
    )


def test_another_end_is_no_preemption_and_a_known_one_is_not_recorded_again() -> None:
    assert noted(MemoryStore(), Outcome.NO_CAPACITY) == ()
    assert noted(MemoryStore(), Outcome.PREEMPTED, before=Outcome.PREEMPTED) == ()


def test_a_bucket_that_does_not_answer_stops_no_reconcile() -> None:
    class Silent(MemoryStore):
        def read(self, name: str) -> Object:
            raise TemporarilyUnavailable(f"no answer for {name}")

    assert noted(Silent(), Outcome.PREEMPTED) == ()
