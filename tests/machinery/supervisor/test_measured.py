"""The duration of a training comes from the newest succeeded run of the same training, and from no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from spot.core.run import Outcome, Provisioning, Run, RunState
from spot.storage import paths
from spot.storage.base import ABSENT, Written
from spot.storage.records import codec
from spot.storage.records.completion import Completion
from spot.storage.records.ledger import Ledger
from spot.supervisor.training_status import measured_work, succeeded
from tests.machinery import samples
from tests.machinery.desk import WEEKLY, Desk
from tests.machinery.samples import after
from tests.machinery.storage.memory import MemoryStore

NOW = after(hours=24 * 5)


class Project:
    """Closed runs and their completion records."""

    def __init__(self) -> None:
        self.store, self.models = MemoryStore(), MemoryStore()
        self.ledger = Ledger(self.store)

    def closed(self, run: Run, compute: float = 7000.0, tail: float = 200.0) -> None:
        self.ledger.file(self.ledger.create(run))
        objects: dict[str, Written] = {}
        for name in (paths.MODEL, paths.METRICS):
            objects[name] = self.models.write(paths.output(run.id, name), b"x", if_generation=ABSENT)
        done = Completion(run=run.id, time=after(hours=9), objects=objects, compute_seconds=compute, tail_seconds=tail)
        self.models.write(paths.output(run.id, paths.COMPLETION), codec.encode(done), if_generation=ABSENT)

    def measured_by(self, run: Run) -> str | None:
        found = measured_work(succeeded(self.ledger, NOW), self.models, run.spec)
        return found.run if found else None


def run(number: int, state: RunState = RunState.SUCCEEDED, **changes: Any) -> Run:
    return samples.run(id=f"2026112{number}-000000", submitted_at=after(hours=number), state=state, **changes)


def test_the_newest_succeeded_run_tells_how_long_training_and_tail_take() -> None:
    project = Project()
    project.closed(run(4), compute=1.0)
    project.closed(run(5))
    project.closed(run(6, RunState.FAILED))
    found = measured_work(succeeded(project.ledger, NOW), project.models, samples.spec())
    assert found
    assert (found.run, found.work, found.tail) == (run(5).id, timedelta(hours=2), timedelta(seconds=200))


def test_the_starts_of_earlier_runs_are_learnt_from_the_ledger() -> None:
    project = Project()
    starts = samples.ended(Outcome.PREEMPTED, intended_at=after(hours=0), advanced_at=after(hours=0, minutes=44))
    slow = samples.ended(
        Outcome.SUCCEEDED,
        provisioning=Provisioning.ON_DEMAND,
        intended_at=after(hours=1),
        advanced_at=after(hours=2),
    )
    project.closed(
        run(4, attempts=(replace(starts, id="a1"), replace(slow, id="a2")), expected_start=timedelta(minutes=24))
    )
    found = measured_work(succeeded(project.ledger, NOW), project.models, samples.spec())
    assert found
    assert found.expected_start == timedelta(minutes=39)  # 24, then 30 % towards 44 and 60
    assert found.worst_start == timedelta(minutes=75)  # the slowest on-demand start, and a quarter


@pytest.mark.parametrize(
    "changes",
    [{"arguments": ("--epochs", "40")}, {"machine": replace(samples.SPEC.machine, type="a2-highgpu-1g")}],
    ids=["other arguments", "another machine"],
)
def test_another_training_tells_nothing(changes: dict[str, Any]) -> None:
    project = Project()
    project.closed(run(4, **changes))
    assert project.measured_by(run(9)) is None


def test_the_same_training_on_newer_data_tells_it() -> None:
    project = Project()
    project.closed(run(4, dataset=f"datasets/{4:064x}.json"))
    assert project.measured_by(run(9, dataset=f"datasets/{9:064x}.json")) == run(4).id


def test_damage_and_a_run_that_measured_nothing_are_passed_over() -> None:
    project = Project()
    project.closed(run(4))
    project.closed(run(5), compute=0.0)
    project.closed(run(6))
    name = paths.output(run(6).id, paths.COMPLETION)
    project.models.write(name, b"{}", if_generation=project.models.read(name).generation)
    project.store.write("runs/closed/2026/11/20261127-junk.json", b"[", if_generation=ABSENT)
    assert project.measured_by(run(9)) == run(4).id


def test_a_plan_says_that_unmeasured_work_counts_double(desk: Desk) -> None:
    plan = desk.spot("submit", "--run", WEEKLY, "--dry-run", "--work-hours", "3").out
    assert "3.0 h of work, not measured: counts as 6.0 h at first" in " ".join(plan.split())
    values = desk.spot("submit", "--run", WEEKLY, "--dry-run", "--json").json["plan"]
    assert (values["work_hours"], values["work_is_measured"]) == (1.0, False)


def test_unmeasured_work_that_does_not_fit_twice_starts_on_demand_and_the_plan_says_why(desk: Desk) -> None:
    plan = desk.spot("submit", "--run", WEEKLY, "--dry-run", "--work-hours", "7", "--json").json["plan"]
    assert plan["first"].startswith("submit on-demand")
    assert any("counts double: 14.0 h do not fit before the deadline" in line for line in plan["warnings"])
