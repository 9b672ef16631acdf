"""The story waits for its cues, and does what it says it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from spot.core.job import JobState
from spot.core.run import Attempt, Provisioning
from spot.demo.scenario import DRY, UNSAVED_STEPS, WET, Cast, Scene, story
from spot.emulators.custom_job import Job
from spot.emulators.faults import Call, LostReply, Method
from spot.emulators.vertex_server import VertexServer
from tests.machinery import samples
from tests.machinery.emulators.world import PROJECT, World, custom_job

SPOT = Provisioning.SPOT


@dataclass
class Play:
    """A story that is being played; `scene` is what runs."""

    world: World
    server: VertexServer
    scene: Scene | None = None
    active: Attempt | None = None
    told: list[str] = field(default_factory=list)
    supervisors_killed: int = 0
    script: Iterator[None] = field(init=False)

    def __post_init__(self) -> None:
        self.script = story(
            Cast(
                capacity=self.world.capacity,
                jobs=self.world.jobs,
                server=self.server,
                running=lambda: self.scene,
                active=lambda: self.active,
                kill_supervisor=self._kill,
                tell=self.told.append,
            )
        )
        next(self.script)

    def _kill(self) -> None:
        self.supervisors_killed += 1

    def runs(self, step: int, durable: int) -> Job:
        """An attempt in the second region that has come so far of 100 steps."""
        job = self.world.jobs.create(PROJECT, WET, custom_job())
        self.world.advance(minutes=30)
        self.scene = Scene(
            job=job.name, attempt="a1", provisioning=SPOT, step=step, total_steps=100, durable_step=durable
        )
        return job

    def go_on(self) -> list[str]:
        before = len(self.told)
        next(self.script, None)
        return self.told[before:]

    def state(self, job: Job) -> JobState:
        self.world.clock.advance(timedelta(minutes=1))
        return self.world.jobs.get(job.name).state


@pytest.fixture
def play(world: World) -> Play:
    return Play(world, VertexServer(world.jobs))


def test_the_first_region_is_dry_from_the_beginning_and_the_second_is_not(play: Play) -> None:
    now = play.world.clock.now()
    assert play.world.capacity.free(DRY, SPOT, now) == 0
    assert play.world.capacity.free(WET, SPOT, now) > 0
    assert play.told == [f"{DRY} has no spot machines, {WET} has"]


def test_nothing_happens_before_its_cue(play: Play) -> None:
    assert play.go_on() == []
    job = play.runs(step=9, durable=9)
    assert play.go_on() == []
    assert play.state(job) is JobState.RUNNING


def to_the_warning(play: Play) -> None:
    first = play.runs(step=10, durable=10)
    assert "SIGTERM" in play.go_on()[0]
    assert play.state(first) is JobState.FAILED


def test_a_tenth_of_the_way_the_machine_is_taken_with_a_warning(play: Play) -> None:
    to_the_warning(play)
    assert [process.poll() for process in play.world.launcher.processes.values()] == [143]


def test_the_kill_without_a_warning_waits_until_there_is_something_to_lose(play: Play) -> None:
    to_the_warning(play)
    second = play.runs(step=60, durable=60 - UNSAVED_STEPS + 1)
    assert play.go_on() == []
    assert play.scene
    play.scene = replace(play.scene, step=61)
    assert "SIGKILL" in play.go_on()[0]
    assert play.state(second) is JobState.FAILED


def test_the_attempt_that_was_just_killed_is_no_cue(play: Play) -> None:
    to_the_warning(play)
    assert play.scene
    play.scene = replace(play.scene, step=99)
    assert play.go_on() == []


def test_the_create_after_that_takes_effect_and_its_supervisor_dies(play: Play) -> None:
    to_the_warning(play)
    play.runs(step=60, durable=20)
    play.go_on()
    call = Call(number=1, method=Method.CREATE, project=PROJECT, region=DRY, job="", request=None)
    assert play.server.rule(replace(call, method=Method.GET)) is None
    fault = play.server.rule(call)
    assert isinstance(fault, LostReply)
    fault.meanwhile()
    assert play.supervisors_killed == 1
    assert play.server.rule(call) is None


def test_at_last_the_second_region_has_no_machine_either(play: Play) -> None:
    to_the_warning(play)
    play.runs(step=60, durable=20)
    play.go_on()
    third = play.runs(step=60, durable=60)
    assert "no other one any more" in play.go_on()[0]
    assert play.state(third) is JobState.FAILED
    assert play.world.capacity.free(WET, SPOT, play.world.clock.now()) == 0
    assert play.go_on() == []


def test_once_on_demand_is_asked_for_there_is_spot_again_everywhere(play: Play) -> None:
    test_at_last_the_second_region_has_no_machine_either(play)
    play.runs(step=60, durable=60)
    assert play.go_on() == []
    play.active = samples.attempt(provisioning=Provisioning.ON_DEMAND)
    assert "there are spot machines again" in play.go_on()[0]
    assert all(play.world.capacity.free(region, SPOT, play.world.clock.now()) > 0 for region in (DRY, WET))
    assert play.go_on() == []
