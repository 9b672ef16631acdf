"""Test that a reconcile closes ended runs even if the report fails, and that no run stops another."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from spot.core.errors import SpotError
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


def test_a_defect_in_one_run_stops_the_reconcile_of_no_other() -> None:
    class Fails(NothingSeen):
        def observe(self, run: Run) -> Observation:
            if run.id == "a":
                raise ZeroDivisionError("a defect\n\x1b[2J")
            return Observation()

    ledger, world = Ledger(MemoryStore()), World()
    for run_id in ("a", "b"):
        ledger.create(samples.run(id=run_id))
    supervisor = Supervisor(
        ledger=ledger,
        jobs=DirectJobs(world.jobs),
        status=Fails(),  # type: ignore[arg-type]
        clock=ManualClock(samples.T0),
    )
    broken, other = supervisor.reconcile()
    assert (broken.problem, broken.needs_operator) == ("ZeroDivisionError: a defect \ufffd[2J", True)
    assert (other.problem, other.needs_operator) == (None, False)
    assert other.actions


def test_a_run_that_is_not_allowed_is_asked_for_nowhere() -> None:
    def refuse(run: Run) -> None:
        raise SpotError(f"run {run.id} is not ours")

    ledger, world = Ledger(MemoryStore()), World()
    ledger.create(samples.run(id="a"))
    supervisor = Supervisor(
        ledger=ledger,
        jobs=DirectJobs(world.jobs),
        status=NothingSeen(),  # type: ignore[arg-type]
        clock=ManualClock(samples.T0),
        check=refuse,
    )
    [result] = supervisor.reconcile()
    assert (result.problem, result.needs_operator, result.actions) == ("run a is not ours", True, ())
    assert ledger.read("a").run.attempts == ()
