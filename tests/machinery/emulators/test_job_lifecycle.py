"""Test that a job changes state as on Vertex AI, to the second of a manual clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import pytest

from spot.core.job import JobError, JobState
from spot.core.run import Provisioning
from spot.emulators import job_lifecycle
from spot.emulators.job_lifecycle import Spec
from spot.emulators.jobs import JobTable, WrongState
from tests.machinery.clocks import START
from tests.machinery.emulators.idle import finish
from tests.machinery.emulators.world import BEHAVIOUR, PROJECT, REGION, World, custom_job

SPOT, FLEX, ON_DEMAND = Provisioning.SPOT, Provisioning.FLEX_START, Provisioning.ON_DEMAND
STOCKOUT = JobError(
    code=8,
    message="Resources are insufficient in region: us-central1. Try a different region or use a different accelerator.",
)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def test_it_is_queued_then_pending_then_running(world: World) -> None:
    name = world.create()
    seen = [world.state(name)]
    for _ in range(10):
        world.advance(minutes=1)
        seen.append(world.state(name))
    assert seen == [JobState.QUEUED, *[JobState.PENDING] * 9, JobState.RUNNING]
    job = world.get(name)
    assert (job.created_at, job.started_at, job.ended_at) == (START, START + minutes(10), None)


def test_its_times_do_not_depend_on_how_often_one_looks(world: World) -> None:
    name = world.create(scheduling={"timeout": "3600s"})
    world.advance(days=3)
    job = world.get(name)
    assert job.started_at == START + minutes(10)
    assert (job.state, job.ended_at) == (JobState.CANCELLED, START + minutes(70.5))


class TestWithoutCapacity:
    def test_it_waits_for_ever(self, world: World) -> None:
        world.capacity.set(REGION, SPOT, 0)
        name = world.create()
        world.advance(days=30)
        assert world.state(name) is JobState.PENDING
        assert world.get(name).started_at is None

    def test_it_continues_once_there_is_capacity(self, world: World) -> None:
        world.capacity.set(REGION, SPOT, 0)
        name = world.create()
        world.advance(hours=5)
        world.capacity.set(REGION, SPOT, 1)
        world.advance(minutes=9)
        assert world.state(name) is JobState.RUNNING

    def test_jobs_of_other_kinds_and_regions_are_not_in_its_way(self, world: World) -> None:
        world.capacity.set(REGION, SPOT, 1)
        first, second, on_demand = world.create(), world.create(), world.create(ON_DEMAND)
        elsewhere = world.jobs.create(PROJECT, "us-east4", custom_job()).name
        world.advance(minutes=10)
        states = [world.state(name) for name in (first, second, on_demand, elsewhere)]
        assert states == [JobState.RUNNING, JobState.PENDING, JobState.RUNNING, JobState.RUNNING]
        finish(world.jobs, first)
        world.advance(minutes=9)
        assert world.state(second) is JobState.RUNNING


class TestOfSeveralMachines:
    def test_it_waits_until_all_its_machines_are_there(self, world: World) -> None:
        world.capacity.set(REGION, SPOT, 3)
        first, second = world.create(machines=2), world.create(machines=2)
        world.advance(minutes=10)
        assert [world.state(name) for name in (first, second)] == [JobState.RUNNING, JobState.PENDING]
        world.capacity.set(REGION, SPOT, 4)
        world.advance(minutes=10)
        assert world.state(second) is JobState.RUNNING

    def test_it_is_preempted_whole_when_one_of_its_machines_is_missing(self, world: World) -> None:
        first, second = world.running(machines=2), world.running(machines=2)
        world.capacity.set(REGION, SPOT, 3)
        world.advance(minutes=1)
        assert [world.state(name) for name in (first, second)] == [JobState.RUNNING, JobState.FAILED]

    def test_the_exit_of_its_primary_decides(self, world: World) -> None:
        name = world.running(machines=2)
        primary, worker = world.launcher.replicas[name]
        primary.end(0)
        world.advance(seconds=10)
        assert world.state(name) is JobState.RUNNING
        worker.end(1)
        world.advance(seconds=1)
        assert world.state(name) is JobState.SUCCEEDED

    def test_a_replica_that_outlives_another_by_the_grace_is_killed(self, world: World) -> None:
        name = world.running(machines=2)
        _, worker = world.launcher.replicas[name]
        worker.end(1)
        world.advance(seconds=14)
        world.advance(seconds=14)
        assert world.state(name) is JobState.RUNNING
        world.advance(seconds=1)
        assert world.state(name) is JobState.FAILED
        world.advance(minutes=1)
        assert world.get(name).error == job_lifecycle.exited(1, "workerpool1-0")


class TestFlexStart:
    def test_it_expires_without_an_error_when_it_has_waited_long_enough(self, world: World) -> None:
        world.capacity.set(REGION, FLEX, 0)
        name = world.create(FLEX, scheduling={"maxWaitDuration": "1200s"})
        world.advance(minutes=19)
        assert world.state(name) is JobState.PENDING
        world.advance(hours=2)
        job = world.get(name)
        assert (job.state, job.ended_at, job.error) == (JobState.EXPIRED, START + minutes(20), None)

    def test_it_waits_a_day_by_default_and_without_limit_at_zero(self, world: World) -> None:
        world.capacity.set(REGION, FLEX, 0)
        silent, patient = world.create(FLEX), world.create(FLEX, scheduling={"maxWaitDuration": "0s"})
        world.advance(hours=23)
        assert world.state(silent) is JobState.PENDING
        world.advance(days=20)
        assert world.state(silent) is JobState.EXPIRED
        assert world.state(patient) is JobState.PENDING

    def test_the_longest_wait_means_nothing_to_spot(self, world: World) -> None:
        world.capacity.set(REGION, SPOT, 0)
        name = world.create(scheduling={"maxWaitDuration": "60s"})
        world.advance(hours=2)
        assert world.state(name) is JobState.PENDING


class TestItsContainer:
    def test_exits_with_zero_and_the_job_succeeds(self, world: World) -> None:
        name = world.running()
        world.launcher.processes[name].end(0)
        ended = world.advance(minutes=1)
        job = world.get(name)
        assert (job.state, job.ended_at, job.error) == (JobState.SUCCEEDED, ended, None)

    @pytest.mark.parametrize(("code", "status"), [(1, 1), (143, 143), (-9, 137), (-11, 139)])
    def test_exits_otherwise_and_the_job_fails(self, world: World, code: int, status: int) -> None:
        name = world.running()
        world.launcher.processes[name].end(code)
        world.advance(minutes=1)
        world.advance(minutes=1)
        assert world.state(name) is JobState.FAILED
        assert world.get(name).error == job_lifecycle.exited(status)

    def test_cannot_be_started_and_the_job_fails_with_the_reason(self, world: World) -> None:
        class Broken:
            def start(self, spec: Spec, job_name: str) -> NoReturn:
                raise FileNotFoundError(f"no podman for {job_name} with {len(spec)} settings")

        jobs = JobTable(world.capacity, Broken(), world.clock, BEHAVIOUR)
        name = jobs.create(PROJECT, REGION, custom_job()).name
        world.clock.advance(minutes(20))
        job = jobs.get(name)
        assert job.state is JobState.FAILED
        assert job.error is not None
        assert "no podman" in job.error.message


class TestAPreemption:
    @pytest.mark.parametrize("save", [True, False])
    def test_is_a_failure_with_a_stockout(self, world: World, save: bool) -> None:
        name = world.running()
        ended = world.clock.now()
        world.jobs.preempt(name, save=save)
        world.advance(minutes=1)
        job = world.get(name)
        assert (job.state, job.ended_at, job.error) == (JobState.FAILED, ended, STOCKOUT)

    def test_shows_its_error_only_a_minute_later(self, world: World) -> None:
        name = world.running()
        world.jobs.preempt(name, save=True)
        world.advance(seconds=59)
        before = world.get(name)
        world.advance(seconds=1)
        assert (before.state, before.error) == (JobState.FAILED, None)
        assert world.get(name) == replace(before, error=STOCKOUT)

    def test_lets_it_succeed_if_its_container_exits_with_zero(self) -> None:
        world = World(on_sigterm=0)
        name = world.running()
        world.jobs.preempt(name, save=True)
        assert world.state(name) is JobState.SUCCEEDED

    def test_kills_when_the_grace_is_over(self) -> None:
        world = World(on_sigterm=None)
        name = world.running()
        world.jobs.preempt(name, save=True)
        world.advance(seconds=14)
        assert world.state(name) is JobState.RUNNING
        world.advance(seconds=1)
        assert world.state(name) is JobState.FAILED

    def test_comes_by_itself_to_the_youngest_when_capacity_shrinks(self, world: World) -> None:
        names = [world.running() for _ in range(3)]
        world.capacity.set(REGION, SPOT, 1)
        world.advance(minutes=1)
        assert [world.state(name) for name in names] == [JobState.RUNNING, JobState.FAILED, JobState.FAILED]
        world.advance(minutes=1)
        assert world.get(names[2]).error == STOCKOUT

    def test_comes_once_to_each_however_long_its_grace(self) -> None:
        world = World(on_sigterm=None)
        names = [world.running() for _ in range(2)]
        world.capacity.set(REGION, SPOT, 1)
        for _ in range(16):
            world.advance(seconds=1)
        assert [world.state(name) for name in names] == [JobState.RUNNING, JobState.FAILED]

    def test_is_one_even_if_the_timeout_comes_within_its_grace(self) -> None:
        world = World(on_sigterm=None)
        name = world.running(scheduling={"timeout": "5400s"})
        world.advance(minutes=89, seconds=55)
        world.jobs.preempt(name, save=True)
        world.advance(seconds=10)
        assert world.state(name) is JobState.RUNNING
        world.advance(seconds=5)
        assert world.state(name) is JobState.FAILED

    def test_a_job_that_does_not_run_yet_waits_again(self, world: World) -> None:
        name = world.create()
        world.advance(minutes=5)
        world.capacity.set(REGION, SPOT, 0)
        world.advance(hours=1)
        assert world.state(name) is JobState.PENDING
        world.capacity.set(REGION, SPOT, 1)
        world.advance(minutes=9)
        assert world.state(name) is JobState.RUNNING

    def test_never_comes_by_itself_to_what_is_not_spot(self, world: World) -> None:
        names = [world.running(ON_DEMAND), world.running(FLEX)]
        for provisioning in (ON_DEMAND, FLEX):
            world.capacity.set(REGION, provisioning, 0)
        world.advance(hours=1)
        assert [world.state(name) for name in names] == [JobState.RUNNING] * 2


class TestACancel:
    def test_takes_effect_a_little_later(self, world: World) -> None:
        name = world.running()
        world.jobs.cancel(name)
        assert world.state(name) is JobState.CANCELLING
        assert world.launcher.processes[name].poll() == 143
        world.advance(seconds=29)
        assert world.state(name) is JobState.CANCELLING
        world.advance(minutes=10)
        job = world.get(name)
        assert (job.state, job.ended_at) == (JobState.CANCELLED, START + minutes(10.5))
        assert job.error == job_lifecycle.cancelled()

    def test_kills_when_the_grace_is_over(self) -> None:
        world = World(on_sigterm=None, behaviour=replace(BEHAVIOUR, grace_s=90.0))
        name = world.running()
        world.jobs.cancel(name)
        world.advance(seconds=89)
        assert world.state(name) is JobState.CANCELLING
        world.advance(seconds=1)
        assert world.state(name) is JobState.CANCELLED

    def test_wins_over_a_container_that_exits_with_zero(self) -> None:
        world = World(on_sigterm=0)
        name = world.running()
        world.jobs.cancel(name)
        world.advance(minutes=1)
        assert world.state(name) is JobState.CANCELLED

    def test_ends_a_job_that_waits_which_never_starts(self, world: World) -> None:
        name = world.create()
        world.jobs.cancel(name)
        world.advance(hours=1)
        job = world.get(name)
        assert (job.state, job.started_at) == (JobState.CANCELLED, None)

    def test_of_a_job_that_does_not_run_yet_gives_its_machine_back_at_once(self, world: World) -> None:
        world.capacity.set(REGION, SPOT, 1)
        first, second = world.create(), world.create()
        world.advance(minutes=5)
        world.jobs.cancel(first)
        assert world.state(first) is JobState.CANCELLING
        world.advance(minutes=9)
        assert world.state(second) is JobState.RUNNING

    def test_can_be_repeated(self, world: World) -> None:
        name = world.running()
        world.jobs.cancel(name)
        world.advance(seconds=20)
        world.jobs.cancel(name)
        world.advance(seconds=10)
        assert world.state(name) is JobState.CANCELLED

    def test_of_a_job_that_has_ended_is_refused(self, world: World) -> None:
        name = world.running()
        finish(world.jobs, name)
        with pytest.raises(WrongState, match="is SUCCEEDED and cannot be cancelled"):
            world.jobs.cancel(name)


def test_its_timeout_ends_it_with_an_error_that_names_it(world: World) -> None:
    name = world.running(scheduling={"timeout": "5400s"})
    world.advance(minutes=89)
    assert world.state(name) is JobState.RUNNING
    world.advance(minutes=1)
    assert world.state(name) is JobState.CANCELLING
    world.advance(minutes=2)
    job = world.get(name)
    assert (job.state, job.ended_at) == (JobState.CANCELLED, START + minutes(100.5))
    assert job.error is not None
    assert "timeout of 5400s" in job.error.message


def test_only_a_running_job_can_be_preempted(world: World) -> None:
    name = world.create()
    with pytest.raises(WrongState, match="is QUEUED and cannot be preempted"):
        world.jobs.preempt(name, save=True)
