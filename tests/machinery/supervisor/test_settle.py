"""Test that a reconcile settles the champion once, killed around every call, and before it waits for stray jobs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spot.config.settings import GateSettings
from spot.core.clock import Clock
from spot.core.errors import TemporarilyUnavailable
from spot.core.job import JobError
from spot.core.run import Outcome, Run, RunState
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.jobs import JobTable
from spot.promotion.rule import GateVerdict, recorded
from spot.promotion.settle import settle
from spot.storage.base import Store
from spot.storage.factory import open_store
from spot.storage.records import champion
from spot.storage.records.ledger import OPEN, Ledger
from spot.supervisor.observe import NOT_FOUND
from spot.supervisor.reconcile import Supervisor
from spot.supervisor.training_status import BucketStatus
from tests.machinery.clocks import ManualClock
from tests.machinery.emulators.idle import IdleLauncher
from tests.machinery.promotion.trained import better, finish
from tests.machinery.samples import after, ended, run
from tests.machinery.supervisor.crashes import Killed, dying
from tests.machinery.supervisor.direct_jobs import DirectJobs
from tests.machinery.supervisor.watched import Around, WatchedStore, When


def undisturbed(_what: str, effect: Callable[[], Any]) -> Any:
    return effect()


def supervisor(root: str, around: Around = undisturbed, clock: Clock | None = None) -> Supervisor:
    """Return a supervisor without state; every call of a store passes `around`."""
    clock = clock or ManualClock(after(hours=30))

    def watched(uri: str) -> Store:
        return WatchedStore(open_store(uri), around)

    store, models = watched(root), watched(f"{root}/models")
    return Supervisor(
        ledger=Ledger(store),
        jobs=DirectJobs(JobTable(EmulatedCapacity(), IdleLauncher(), clock)),
        status=BucketStatus(root),
        clock=clock,
        settle=lambda run, now: settle(store, models, run.id, GateSettings(), now),
    )


def closed(root: str, name: str, **changes: Any) -> str:
    """Record a run that has just succeeded with a model that is better than the champion."""
    run_id = f"20261124-{name}"
    known = champion.read(open_store(root))[0].run
    done = ended(Outcome.SUCCEEDED, at=after(hours=2), started_at=after(hours=1))
    values = {"id": run_id, "root": root, "state": RunState.SUCCEEDED, "ended_at": after(hours=2), **changes}
    Ledger(open_store(root)).create(run(done, **values))
    finish(open_store(f"{root}/models"), better(run_id, known), run_id)
    return run_id


def promotions(root: str) -> list[str]:
    return [one.run for one in champion.read(open_store(root))[0].promotions]


def found(root: str, run_id: str) -> Run:
    return Ledger(open_store(root)).find(run_id).run


def test_a_supervisor_killed_around_any_call_promotes_once_and_files_the_run(tmp_path: Path) -> None:
    root = str(tmp_path)
    moments = ((number, when) for number in itertools.count(1) for when in When)
    for count, (number, when) in enumerate(moments):
        run_id, calls = closed(root, f"r{count}"), list[str]()
        is_over = True
        try:
            supervisor(root, dying(number, when, calls)).reconcile([run_id])
        except Killed:
            is_over = False
        supervisor(root).reconcile([run_id])
        made = [decision for decision in found(root, run_id).decisions if decision.action == GateVerdict.PROMOTE]
        assert len(made) == 1
        assert (promotions(root)[0], promotions(root).count(run_id)) == (run_id, 1)
        assert open_store(root).list(OPEN) == []
        if is_over:
            assert {"write champion.json", f"write {OPEN}{run_id}.json"} <= set(calls)
            return


def test_the_model_is_promoted_while_a_stray_job_may_still_appear(tmp_path: Path) -> None:
    root = str(tmp_path)
    error = JobError(code=NOT_FOUND, message="no job was found")
    lost = ended(Outcome.UNKNOWN, at=after(hours=2), intended_at=after(hours=2), job=None, error=error)
    clock = ManualClock(after(hours=2) + timedelta(minutes=1))
    run_id = closed(root, "a", attempts=(replace(lost, id="a1"),))
    [result] = supervisor(root, clock=clock).reconcile()
    assert "may still appear" in result.waiting_for
    assert promotions(root) == [run_id]
    assert [made.action for made in result.actions] == ["promote"]
    [again] = supervisor(root, clock=clock).reconcile()
    assert again.actions == ()


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
def test_a_run_that_did_not_succeed_is_not_settled(tmp_path: Path, state: RunState) -> None:
    run_id = closed(str(tmp_path), "a", state=state)
    supervisor(str(tmp_path)).reconcile()
    assert promotions(str(tmp_path)) == []
    assert recorded(found(str(tmp_path), run_id)) is None


def test_a_store_that_does_not_answer_leaves_the_run_to_the_next_reconcile(tmp_path: Path) -> None:
    root = str(tmp_path)
    run_id = closed(root, "a")

    def around(what: str, effect: Callable[[], Any]) -> Any:
        if what == "read champion.json":
            raise TemporarilyUnavailable("no answer")
        return effect()

    [result] = supervisor(root, around).reconcile()
    assert (result.problem, result.needs_operator) == ("no answer", False)
    assert promotions(root) == []
    supervisor(root).reconcile()
    assert promotions(root) == [run_id]
    assert found(root, run_id).ended_at
