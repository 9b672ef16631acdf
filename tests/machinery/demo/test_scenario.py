"""The scenario waits for its conditions, then injects its faults."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from spot.core.job import JobState
from spot.core.run import Provisioning
from spot.demo.runner import Rehearsal, TrainingView
from spot.demo.scenario import (
    EMPTY,
    ON_DEMAND_FIRST,
    SCARCE,
    UNSAVED,
    random_scenario,
    scenario,
)
from spot.emulators.custom_job import EmulatedJob
from spot.emulators.faults import Call, LostReply, Method
from spot.emulators.vertex_server import VertexServer
from tests.machinery.emulators.world import PROJECT, World, custom_job

SPOT = Provisioning.SPOT


@dataclass
class Stage:
    """A scenario in progress; `view` is the training attempt."""

    world: World
    server: VertexServer
    view: TrainingView | None = None
    told: list[str] = field(default_factory=list)
    supervisors_killed: list[str] = field(default_factory=list)
    script: Iterator[None] = field(init=False)

    def __post_init__(self) -> None:
        self.script = scenario(self.rehearsal)
        next(self.script)

    @property
    def rehearsal(self) -> Rehearsal:
        """Return what a scenario reads and changes, without processes."""
        controls = SimpleNamespace(
            capacity=self.world.capacity,
            jobs=self.world.jobs,
            server=self.server,
            training=lambda: self.view,
            now=self.world.clock.now,
            kill_supervisor=self.supervisors_killed.append,
            log=self.told.append,
            machines=lambda _: (),
        )
        return cast("Rehearsal", controls)

    def runs(self, step: int, durable: int) -> EmulatedJob:
        """An attempt in the second region that has come so far of 100 steps."""
        job = self.world.jobs.create(PROJECT, SCARCE, custom_job())
        self.world.advance(minutes=30)
        self.view = TrainingView(
            job=job.name, attempt="a1", provisioning=SPOT, step=step, total_steps=100, durable_step=durable
        )
        return job

    def go_on(self) -> list[str]:
        before = len(self.told)
        next(self.script, None)
        return self.told[before:]

    def state(self, job: EmulatedJob) -> JobState:
        self.world.clock.advance(timedelta(minutes=1))
        return self.world.jobs.get(job.name).state


@pytest.fixture
def stage(world: World) -> Stage:
    return Stage(world, VertexServer(world.jobs))


def test_the_first_region_is_dry_from_the_beginning_and_the_second_is_not(stage: Stage) -> None:
    now = stage.world.clock.now()
    assert stage.world.capacity.limit(EMPTY, SPOT, now) == 0
    assert stage.world.capacity.limit(SCARCE, SPOT, now) > 0
    assert stage.told == [f"no spot capacity in {EMPTY}"]


def test_nothing_happens_before_its_cue(stage: Stage) -> None:
    assert stage.go_on() == []
    job = stage.runs(step=19, durable=19)
    assert stage.go_on() == []
    assert stage.state(job) is JobState.RUNNING


def to_the_warning(stage: Stage) -> None:
    first = stage.runs(step=20, durable=20)
    assert "SIGTERM" in stage.go_on()[0]
    assert stage.state(first) is JobState.FAILED


def test_a_fifth_of_the_way_the_machine_is_taken_with_a_warning(stage: Stage) -> None:
    to_the_warning(stage)
    assert [process.poll() for process in stage.world.launcher.processes.values()] == [143]


def test_the_kill_without_a_warning_waits_until_there_is_something_to_lose(stage: Stage) -> None:
    to_the_warning(stage)
    second = stage.runs(step=60, durable=60 - math.ceil(UNSAVED * 100) + 1)
    assert stage.go_on() == []
    assert stage.view
    stage.view = replace(stage.view, step=61)
    assert "SIGKILL" in stage.go_on()[0]
    assert stage.state(second) is JobState.FAILED


def test_the_attempt_that_was_just_killed_is_no_cue(stage: Stage) -> None:
    to_the_warning(stage)
    assert stage.view
    stage.view = replace(stage.view, step=99)
    assert stage.go_on() == []


def test_the_create_after_that_takes_effect_and_its_supervisor_dies(stage: Stage) -> None:
    to_the_warning(stage)
    stage.runs(step=60, durable=20)
    stage.go_on()
    call = Call(method=Method.CREATE, project=PROJECT, region=EMPTY, job="", request=None)
    assert stage.server.rule(replace(call, method=Method.GET)) is None
    fault = stage.server.rule(call)
    assert isinstance(fault, LostReply)
    fault.meanwhile()
    assert stage.supervisors_killed == ["before it has the reply to its create"]
    assert stage.server.rule(call) is None


def test_at_last_the_second_region_has_no_machine_either(stage: Stage) -> None:
    to_the_warning(stage)
    stage.runs(step=60, durable=20)
    stage.go_on()
    third = stage.runs(step=60, durable=60)
    assert f"no spot capacity in {EMPTY} or {SCARCE}" in stage.go_on()[0]
    assert stage.state(third) is JobState.FAILED
    assert stage.world.capacity.limit(SCARCE, SPOT, stage.world.clock.now()) == 0
    assert stage.go_on() == []


def test_once_on_demand_has_trained_for_a_while_there_is_spot_again_everywhere(stage: Stage) -> None:
    test_at_last_the_second_region_has_no_machine_either(stage)
    stage.runs(step=60, durable=60)
    assert stage.go_on() == []
    assert stage.view
    stage.view = replace(stage.view, provisioning=Provisioning.ON_DEMAND)
    assert stage.go_on() == []
    stage.world.clock.advance(ON_DEMAND_FIRST)
    assert stage.go_on() == ["spot capacity is back in both regions"]
    assert all(stage.world.capacity.limit(region, SPOT, stage.world.clock.now()) > 0 for region in (EMPTY, SCARCE))
    assert stage.go_on() == []


def test_a_seed_draws_the_same_story_again(world: World) -> None:
    assert told(world, seed=3) == told(world, seed=3) != told(world, seed=4)


def told(world: World, seed: int) -> list[tuple[timedelta, str]]:
    """Return what a random scenario logs in ten days, and when."""
    stage, began = Stage(world, VertexServer(world.jobs)), world.clock.now()
    stage.told.clear()
    events = list[tuple[timedelta, str]]()
    script = random_scenario(stage.rehearsal, seed)
    for _ in itertools.repeat(None, 10 * 24 * 12):
        next(script)
        events += [(world.clock.now() - began, line) for line in stage.told]
        stage.told.clear()
        world.advance(minutes=5)
    return events


def test_a_random_story_preempts_what_trains_on_spot_and_kills_supervisors(stage: Stage) -> None:
    job = stage.runs(step=1, durable=0)
    script = random_scenario(stage.rehearsal, seed=0)
    while not stage.supervisors_killed or stage.view:
        next(script)
        if stage.state(job).ended:
            stage.view = None
    assert stage.state(job) is JobState.FAILED
    assert any(line.startswith("a1 is preempted") for line in stage.told)
    assert stage.supervisors_killed[0] == "between two reconciles"


def test_a_random_story_leaves_a_trainer_alone_that_saves_because_its_job_was_cancelled(stage: Stage) -> None:
    stage.world.launcher.on_sigterm = None
    job = stage.runs(step=1, durable=0)
    stage.world.jobs.cancel(job.name)
    script = random_scenario(stage.rehearsal, seed=0)
    for _ in range(10 * 24 * 60):
        next(script)
        stage.world.clock.advance(timedelta(minutes=1))
    assert not any("is preempted" in line for line in stage.told)
