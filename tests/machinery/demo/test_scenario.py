"""The scenario waits for its conditions, then injects its faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from spot.core.job import JobState
from spot.core.run import Attempt, Provisioning
from spot.demo.scenario import EMPTY, SCARCE, UNSAVED_STEPS, AttemptView, Controls, scenario
from spot.emulators.custom_job import EmulatedJob
from spot.emulators.faults import Call, LostReply, Method
from spot.emulators.vertex_server import VertexServer
from tests.machinery import samples
from tests.machinery.emulators.world import PROJECT, World, custom_job

SPOT = Provisioning.SPOT


@dataclass
class Rehearsal:
    """A scenario in progress; `view` is the training attempt."""

    world: World
    server: VertexServer
    view: AttemptView | None = None
    active: Attempt | None = None
    told: list[str] = field(default_factory=list)
    supervisors_killed: int = 0
    script: Iterator[None] = field(init=False)

    def __post_init__(self) -> None:
        self.script = scenario(
            Controls(
                capacity=self.world.capacity,
                jobs=self.world.jobs,
                server=self.server,
                training=lambda: self.view,
                active=lambda: self.active,
                kill_supervisor=self._kill,
                log=self.told.append,
            )
        )
        next(self.script)

    def _kill(self) -> None:
        self.supervisors_killed += 1

    def runs(self, step: int, durable: int) -> EmulatedJob:
        """An attempt in the second region that has come so far of 100 steps."""
        job = self.world.jobs.create(PROJECT, SCARCE, custom_job())
        self.world.advance(minutes=30)
        self.view = AttemptView(
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
def rehearsal(world: World) -> Rehearsal:
    return Rehearsal(world, VertexServer(world.jobs))


def test_the_first_region_is_dry_from_the_beginning_and_the_second_is_not(rehearsal: Rehearsal) -> None:
    now = rehearsal.world.clock.now()
    assert rehearsal.world.capacity.limit(EMPTY, SPOT, now) == 0
    assert rehearsal.world.capacity.limit(SCARCE, SPOT, now) > 0
    assert rehearsal.told == [f"no spot capacity in {EMPTY}"]


def test_nothing_happens_before_its_cue(rehearsal: Rehearsal) -> None:
    assert rehearsal.go_on() == []
    job = rehearsal.runs(step=9, durable=9)
    assert rehearsal.go_on() == []
    assert rehearsal.state(job) is JobState.RUNNING


def to_the_warning(rehearsal: Rehearsal) -> None:
    first = rehearsal.runs(step=10, durable=10)
    assert "SIGTERM" in rehearsal.go_on()[0]
    assert rehearsal.state(first) is JobState.FAILED


def test_a_tenth_of_the_way_the_machine_is_taken_with_a_warning(rehearsal: Rehearsal) -> None:
    to_the_warning(rehearsal)
    assert [process.poll() for process in rehearsal.world.launcher.processes.values()] == [143]


def test_the_kill_without_a_warning_waits_until_there_is_something_to_lose(rehearsal: Rehearsal) -> None:
    to_the_warning(rehearsal)
    second = rehearsal.runs(step=60, durable=60 - UNSAVED_STEPS + 1)
    assert rehearsal.go_on() == []
    assert rehearsal.view
    rehearsal.view = replace(rehearsal.view, step=61)
    assert "SIGKILL" in rehearsal.go_on()[0]
    assert rehearsal.state(second) is JobState.FAILED


def test_the_attempt_that_was_just_killed_is_no_cue(rehearsal: Rehearsal) -> None:
    to_the_warning(rehearsal)
    assert rehearsal.view
    rehearsal.view = replace(rehearsal.view, step=99)
    assert rehearsal.go_on() == []


def test_the_create_after_that_takes_effect_and_its_supervisor_dies(rehearsal: Rehearsal) -> None:
    to_the_warning(rehearsal)
    rehearsal.runs(step=60, durable=20)
    rehearsal.go_on()
    call = Call(number=1, method=Method.CREATE, project=PROJECT, region=EMPTY, job="", request=None)
    assert rehearsal.server.rule(replace(call, method=Method.GET)) is None
    fault = rehearsal.server.rule(call)
    assert isinstance(fault, LostReply)
    fault.meanwhile()
    assert rehearsal.supervisors_killed == 1
    assert rehearsal.server.rule(call) is None


def test_at_last_the_second_region_has_no_machine_either(rehearsal: Rehearsal) -> None:
    to_the_warning(rehearsal)
    rehearsal.runs(step=60, durable=20)
    rehearsal.go_on()
    third = rehearsal.runs(step=60, durable=60)
    assert f"no spot capacity in {EMPTY} or {SCARCE}" in rehearsal.go_on()[0]
    assert rehearsal.state(third) is JobState.FAILED
    assert rehearsal.world.capacity.limit(SCARCE, SPOT, rehearsal.world.clock.now()) == 0
    assert rehearsal.go_on() == []


def test_once_on_demand_is_asked_for_there_is_spot_again_everywhere(rehearsal: Rehearsal) -> None:
    test_at_last_the_second_region_has_no_machine_either(rehearsal)
    rehearsal.runs(step=60, durable=60)
    assert rehearsal.go_on() == []
    rehearsal.active = samples.attempt(provisioning=Provisioning.ON_DEMAND)
    assert "fallback to on-demand" in rehearsal.go_on()[0]
    assert all(
        rehearsal.world.capacity.limit(region, SPOT, rehearsal.world.clock.now()) > 0 for region in (EMPTY, SCARCE)
    )
    assert rehearsal.go_on() == []
