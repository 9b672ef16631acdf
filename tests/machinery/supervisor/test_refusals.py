"""A reconcile against Vertex AI over the wire, when it refuses a job or reports an error that a person must mend."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from spot.core.run import Outcome, Provisioning, Run, RunState
from spot.emulators.faults import Injection, Method, Reply, never
from spot.emulators.vertex_server import VertexServer
from spot.google.vertex import VertexJobs
from spot.storage.records.ledger import Ledger
from spot.supervisor.reconcile import RunResult, Supervisor
from spot.supervisor.training_status import BucketStatus
from tests.machinery import samples
from tests.machinery.clocks import ManualClock
from tests.machinery.each import each
from tests.machinery.emulators.faults import Answer, first, no_machine, no_quota, on
from tests.machinery.emulators.world import World
from tests.machinery.storage.memory import MemoryStore

C1, E4 = "us-central1", "us-east4"
AGENT = "service-12@gcp-sa-aiplatform-cc.iam.gserviceaccount.com"
NO_AGENT = f"Vertex AI Service Agent {AGENT} does not have permission to access Artifact Registry repository images."
NOT_PULLED = 'Failed to pull image: denied: Permission "artifactregistry.repositories.downloadArtifacts" denied'


class Desk:
    """One open run, its supervisor, and a Vertex AI over HTTP on a clock that stands still."""

    def __init__(self, root: Path, world: World, server: VertexServer) -> None:
        self.world, self.server = world, server
        self.ledger = Ledger(MemoryStore())
        self.run = samples.run(id="20261124-000000-ab12", root=str(root))
        self.ledger.create(self.run)
        self.supervisor = Supervisor(
            ledger=self.ledger,
            jobs=VertexJobs(server.url, give_up_s=0.001),
            status=BucketStatus(root=str(root)),
            clock=world.clock,
        )

    def reconcile(self, **later: float) -> tuple[RunResult, Run]:
        self.world.clock.advance(timedelta(**later))
        result = self.supervisor.reconcile_run(self.run.id)
        assert result.run is not None
        return result, result.run

    def created(self) -> list[str]:
        """The regions that were asked for a job."""
        return [call.region for call in self.server.calls if call.method is Method.CREATE]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    world = World(clock=ManualClock(samples.T0))
    with VertexServer(world.jobs) as server:
        yield Desk(tmp_path, world, server)


def fails(code: int, message: str) -> Injection:
    """Show the job as failed with this error."""

    def injection(execute: object) -> Reply:
        status, job = execute()  # type: ignore[operator]
        return status, {**job, "state": 5, "error": {"code": code, "message": message}}

    return injection


def test_a_region_that_refuses_the_machine_is_followed_by_the_next_in_the_same_reconcile(desk: Desk) -> None:
    desk.server.rule = no_machine(C1, desk.run.spec.machine.type)
    result, run = desk.reconcile()
    assert (result.problem, run.state, desk.created()) == (None, RunState.OPEN, [C1, E4])
    assert [attempt.outcome for attempt in run.attempts] == [Outcome.REQUEST_REJECTED, None]


def test_a_run_ends_once_every_region_and_provisioning_has_refused_it(desk: Desk) -> None:
    desk.server.rule = first(*[no_machine(region, desk.run.spec.machine.type) for region in (C1, E4)])
    _, run = desk.reconcile()
    asked = [(attempt.region, attempt.provisioning) for attempt in run.attempts]
    assert sorted(asked) == sorted(
        (region, kind) for region in (C1, E4) for kind in (Provisioning.SPOT, Provisioning.ON_DEMAND)
    )
    assert run.state is RunState.FAILED
    assert 'Machine type "g2-standard-8" is not supported' in run.decisions[-1].reason


@pytest.mark.parametrize("status", [400, 403])
def test_a_create_without_a_permission_is_red_with_the_grant_until_it_is_granted(desk: Desk, status: int) -> None:
    desk.server.rule = each(Answer(status, NO_AGENT), where=on(Method.CREATE))
    for _ in range(3):
        result, run = desk.reconcile(minutes=15)
        assert result.needs_operator
        assert f"roles/artifactregistry.reader on the repository of {run.spec.image} to {AGENT}" in str(result.problem)
        assert (run.state, run.attempts) == (RunState.OPEN, ())
    desk.server.rule = never
    result, run = desk.reconcile(minutes=15)
    assert (result.problem, len(run.attempts)) == (None, 1)


def test_a_job_without_a_permission_keeps_the_run_open_and_red_until_it_is_granted(desk: Desk) -> None:
    desk.reconcile()
    desk.server.rule = each(fails(7, NOT_PULLED), where=on(Method.GET))
    result, run = desk.reconcile(minutes=5)
    assert result.needs_operator
    assert "a1 in us-central1 lacks a permission: Failed to pull image" in str(result.problem)
    assert "roles/artifactregistry.reader" in str(result.problem)
    assert (run.state, [attempt.outcome for attempt in run.attempts]) == (RunState.OPEN, [Outcome.PERMISSION])
    desk.server.rule = never
    result, run = desk.reconcile(minutes=20)
    assert (result.needs_operator, len(run.attempts)) == (True, 2)
    result, run = desk.reconcile(minutes=12)
    assert (result.problem, run.attempts[1].started_at is not None) == (None, True)


def test_quota_and_a_text_never_seen_leave_the_run_open(desk: Desk) -> None:
    desk.server.rule = no_quota(C1, Provisioning.SPOT, "nvidia_l4_gpus")
    desk.reconcile()
    desk.server.rule = each(fails(9, "The flux of the replica was 1.21, which is new."), where=on(Method.GET))
    _, run = desk.reconcile(minutes=5)
    assert run.state is RunState.OPEN
    assert run.attempts[0].outcome is Outcome.QUOTA
