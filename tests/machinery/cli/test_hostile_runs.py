"""Show every run whose record is valid, however odd its values: one run must not hide the others."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from spot.accounting.cost import Totals, account
from spot.cli import console, run_tables
from spot.core.history import TrainingProgress
from spot.core.run import Observation, Run
from spot.report import as_json, markdown, page, terminal
from spot.storage.records.ledger import Ledger
from spot.supervisor.reconcile import RunResult, Supervisor
from tests.machinery import samples
from tests.machinery.clocks import ManualClock
from tests.machinery.emulators.world import World
from tests.machinery.storage.memory import MemoryStore
from tests.machinery.storage.records.test_ledger import DURATIONS, IDS, RUNS, TIMES, WHOLE
from tests.machinery.supervisor.direct_jobs import DirectJobs

OBSERVATIONS = st.builds(
    Observation,
    progress=st.none()
    | st.builds(
        TrainingProgress,
        attempt=IDS,
        step=WHOLE,
        total_steps=WHOLE,
        trained=DURATIONS,
        steps_per_hour=st.sampled_from([0.0, 3600e9, 1e6]),
        at=TIMES,
        from_step=st.none() | WHOLE,
        saving=DURATIONS,
    ),
    completed_at=st.none() | TIMES,
)


@given(RUNS, OBSERVATIONS)
@settings(max_examples=30, deadline=None, phases=[Phase.reuse, Phase.generate])
def test_any_valid_record_is_shown_and_reported(run: Run, seen: Observation) -> None:
    now = samples.after(hours=5)
    found = account(run, seen, now)
    console.write(run_tables.runs([RunResult(run_id=run.id, run=run, seen=seen)], now, alone=True))
    console.write(run_tables.runs([RunResult(run_id=run.id, run=run, seen=seen)], now, alone=False))
    console.write(*terminal.report(found))
    totals = Totals(since=now - timedelta(days=1), until=now, accounts=(found,), skipped=())
    assert markdown.report(found)
    assert terminal.many(totals)
    assert page.report(found)
    assert as_json.report(found, problem=None)


OURS = samples.run(id="zz-ours")


class SeenOfOthers:
    def __init__(self, seen: Observation) -> None:
        self._seen = seen

    def observe(self, run: Run) -> Observation:
        return Observation() if run.id == OURS.id else self._seen


@given(RUNS, OBSERVATIONS)
@settings(max_examples=30, deadline=None, phases=[Phase.reuse, Phase.generate])
def test_any_valid_record_beside_another_run_lets_it_go_on(run: Run, seen: Observation) -> None:
    ledger = Ledger(MemoryStore())
    ledger.create(run)
    ledger.create(OURS)
    supervisor = Supervisor(
        ledger=ledger,
        jobs=DirectJobs(World().jobs),
        status=SeenOfOthers(seen),  # type: ignore[arg-type]
        clock=ManualClock(samples.T0),
    )
    results = {one.run_id: one for one in supervisor.reconcile()}
    assert (results[OURS.id].problem, bool(results[OURS.id].actions)) == (None, True)
