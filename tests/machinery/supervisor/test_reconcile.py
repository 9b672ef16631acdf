"""A reconcile closes what has ended, whatever the report does."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from spot.core.run import Observation, Run, RunState
from spot.storage.records.ledger import Ledger
from spot.supervisor.reconcile import Supervisor
from tests.machinery import samples
from tests.machinery.clocks import ManualClock
from tests.machinery.emulators.world import World
from tests.machinery.storage.memory import MemoryStore
from tests.machinery.supervisor.direct_jobs import DirectJobs


class NothingSeen:
    def observe(self, run: Run) -> Observation:  # noqa: ARG002
        return Observation()


def test_a_report_that_fails_keeps_no_closed_run_open() -> None:
    def publish(run: Run, _seen: Observation, _now: datetime) -> None:
        raise RuntimeError(f"no page of {run.id}")

    ledger = Ledger(MemoryStore())
    run = samples.run(id="20261123-060000-ab12", state=RunState.FAILED, ended_at=samples.after(hours=1))
    ledger.create(replace(run))
    supervisor = Supervisor(
        ledger=ledger,
        jobs=DirectJobs(World().jobs),
        status=NothingSeen(),  # type: ignore[arg-type]
        clock=ManualClock(),
        publish=publish,
    )
    [result] = supervisor.reconcile()
    assert (result.problem, ledger.open_ids()) == (None, [])
