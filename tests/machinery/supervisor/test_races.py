"""Two concurrent supervisors, in any order of their calls, keep one job at a time, one record and one end.

The only assumption is that a create takes effect within CREATE_WITHIN of the reading of the clock before it. All other
calls may take any time.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from spot.core.errors import TemporarilyUnavailable
from spot.core.job import JobState
from spot.core.run import Provisioning, RunState
from spot.supervisor.reconcile import CREATE_WITHIN, SETTLE_EVERY_S
from tests.machinery.emulators.idle import finish
from tests.machinery.supervisor.crashes import FALLBACK, FIRST, HAND_OVER, SECOND, TICK, Killed, Scene, World, play
from tests.machinery.supervisor.racing import Racer
from tests.machinery.supervisor.watched import Fault, When, undisturbed

MATTERS = ("read ", "write ", "delete ", "create ", "cancel ", "get ", "find ")
"""The calls whose order matters: the objects that other calls read do not change during a race."""


def matters(what: str) -> bool:
    return what.startswith(MATTERS)


def to_create(root: str) -> World:
    return World(root)


def to_create_again(root: str) -> World:
    """Record a create whose supervisor was killed long enough ago to be given up."""

    def killed(_number: int, what: str) -> Fault | None:
        return Fault(when=When.BEFORE, error=Killed()) if what.startswith("create") else None

    world = World(root, plan=killed)
    with pytest.raises(Killed):
        world.supervisor().reconcile()
    world.pass_time(timedelta(minutes=6))
    world.plan = undisturbed
    return world


def to_cancel(root: str) -> World:
    """Let the attempt wait for too long, so that it is cancelled and another one is created."""
    world = World(root)
    world.supervisor().reconcile()
    world.pass_time(timedelta(minutes=25))
    return world


def to_close(root: str) -> World:
    world = World(root)
    world.capacity.set(FIRST, Provisioning.SPOT, 1)
    world.supervisor().reconcile()
    world.pass_time(timedelta(minutes=10))
    world.supervisor().reconcile()
    world.complete()
    finish(world.vertex, world.all_jobs()[0].name)
    return world


def to_hand_over(root: str) -> World:
    """Let on-demand run until a standby is due."""
    world = World(root, scene=HAND_OVER)
    while JobState.RUNNING not in states(world):
        world.supervisor().reconcile()
        world.pass_time(TICK)
    return world


def race(world: World, prefix: list[int]) -> tuple[list[int], list[bool]]:
    """Let two supervisors take turns by `prefix`, then each until it ends. Return the turns, and which were choices.

    0 is the first supervisor, 1 the second.
    """
    racers = [Racer(world, matters), Racer(world, matters)]
    turns: list[int] = []
    choices: list[bool] = []
    while not all(racer.done for racer in racers):
        free = not any(racer.done for racer in racers)
        wanted = prefix[len(turns)] if len(turns) < len(prefix) else (turns or [0])[-1]
        turn = 1 - wanted if racers[wanted].done else wanted
        turns.append(turn)
        choices.append(free)
        racers[turn].step()
    assert all(racer.result.problem is None for racer in racers)
    return turns, choices


def interruptions(turns: list[int], choices: list[bool]) -> int:
    """Return how often a supervisor was interrupted although it could continue."""
    return sum(now != then and free for (then, now), free in zip(itertools.pairwise(turns), choices[1:], strict=False))


def explore(prepare: Callable[[str], World], check: Callable[[World], None], folder: Path, most: int) -> int:
    """Check every order of turns with at most so many interruptions, and return how many there were."""
    pending: list[list[int]] = [[], [1]]
    count = 0
    while pending:
        prefix = pending.pop()
        root = folder / str(count)
        world = prepare(str(root))
        try:
            turns, choices = race(world, prefix)
            world.pass_time(timedelta(seconds=10))
            world.supervisor().reconcile()  # the loser of a race leaves the rest to the next reconcile
            check(world)
        except AssertionError as found:
            found.add_note(f"the first turns are {prefix}")
            raise
        shutil.rmtree(root, ignore_errors=True)  # it may be empty
        count += 1
        for i in range(max(len(prefix), 1), len(turns)):
            other = [*turns[:i], 1 - turns[i]]
            if choices[i] and interruptions(other, choices) <= most:
                pending.append(other)
    return count


def states(world: World) -> list[JobState]:
    return sorted(job.state for job in world.all_jobs())


def one_job_waits(world: World) -> None:
    assert states(world) == [JobState.QUEUED]
    assert world.ledger.read(world.run.id).run.active


def one_job_follows_another(world: World) -> None:
    assert states(world) == [JobState.QUEUED, JobState.CANCELLED]
    assert len(world.ledger.read(world.run.id).run.attempts) == 2


def a_standby_waits(world: World) -> None:
    assert states(world)[:2] == [JobState.QUEUED, JobState.RUNNING]
    run = world.ledger.read(world.run.id).run
    assert run.standby
    assert run.standby.replaces == run.active_attempts[0].id


def the_run_is_closed(world: World) -> None:
    assert world.over
    run = world.ledger.find(world.run.id).run
    assert (run.state, len(run.attempts)) == (RunState.SUCCEEDED, 1)


SITUATIONS = {
    "create": (to_create, one_job_waits),
    "create-again": (to_create_again, one_job_waits),
    "cancel": (to_cancel, one_job_follows_another),
    "close": (to_close, the_run_is_closed),
    "hand-over": (to_hand_over, a_standby_waits),
}


@pytest.mark.parametrize("name", SITUATIONS)
@pytest.mark.parametrize(
    "stall", [timedelta(minutes=6), pytest.param(timedelta(hours=2), marks=pytest.mark.chaos)], ids=str
)
def test_a_supervisor_that_stalls_at_any_call_changes_no_result(stall: timedelta, name: str, tmp_path: Path) -> None:
    prepare, _ = SITUATIONS[name]
    for number, late in ((number, late) for number in itertools.count() for late in (False, True)):
        world = prepare(str(tmp_path / f"{number}-{late}"))
        slow = Racer(world, matters)
        for _ in range(number):
            slow.step()
            if slow.done:
                return
        if late and not slow.before.startswith("write "):
            continue
        world.pass_time(min(stall, CREATE_WITHIN) if slow.before.startswith("create ") else stall)
        if late:  # its write is old when the other supervisor reads it
            slow.step()
        world.supervisor().reconcile()
        while not slow.done:
            slow.step()
        assert play(world).state is RunState.SUCCEEDED


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("create", 99),
        pytest.param("create-again", 99, marks=pytest.mark.chaos),
        ("cancel", 2),
        pytest.param("cancel", 3, marks=pytest.mark.chaos),
        ("close", 99),
        ("hand-over", 2),
        pytest.param("hand-over", 99, marks=pytest.mark.chaos),
    ],
)
def test_in_every_order_of_calls_two_supervisors_have_the_result_of_one(name: str, most: int, tmp_path: Path) -> None:
    prepare, check = SITUATIONS[name]
    assert explore(prepare, check, tmp_path, most) > 40


WHO = st.sampled_from("AB")
MINUTES = st.sampled_from([0.5, 2, 5, 15, 40])


def machine(folder: Path) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        """Let `World` check its invariants at every call, and assert that the run still completes."""

        @initialize(scene=st.sampled_from([FALLBACK, HAND_OVER]))
        def begin(self, scene: Scene) -> None:
            self.world = World(tempfile.mkdtemp(dir=folder), scene=scene)
            self.racers: dict[str, Racer] = {}

        def racer(self, who: str) -> Racer:
            """Return a racer that waits before a call, a new one if the last one is done or killed."""
            if who not in self.racers or self.racers[who].done:
                self.racers[who] = Racer(self.world, lambda what: what == "sleep" or matters(what))
            return self.racers[who]

        def may_pass(self, by: timedelta, except_for: Racer | None = None) -> bool:
            """Return whether every create would still take effect within CREATE_WITHIN."""
            latest = self.world.clock.now() + by
            creates = [it for it in self.racers.values() if it is not except_for and it.before.startswith("create ")]
            return all(latest - racer.since <= CREATE_WITHIN for racer in creates)

        @rule(who=WHO, times=st.integers(1, 4))
        def step(self, who: str, times: int) -> None:
            if self.world.over:
                return
            for _ in range(times):
                racer = self.racer(who)
                if racer.before == "sleep" and not self.may_pass(timedelta(seconds=SETTLE_EVERY_S), racer):
                    return
                if not racer.done:
                    racer.step()

        @rule(who=WHO)
        def kill(self, who: str) -> None:
            if who in self.racers:
                self.racers[who].kill()

        @rule(who=WHO, when=st.sampled_from(When))
        def lose_an_answer(self, who: str, when: When) -> None:
            racer = self.racers.get(who)
            if racer and racer.before.startswith(("create ", "cancel ", "get ", "find ")):
                racer.step((when, TemporarilyUnavailable("no answer")))

        @rule(minutes=MINUTES)
        def wait(self, minutes: float) -> None:
            if self.may_pass(timedelta(minutes=minutes)):
                self.world.pass_time(timedelta(minutes=minutes))

        @rule(region=st.sampled_from([FIRST, SECOND]), count=st.integers(0, 1))
        def change_capacity(self, region: str, count: int) -> None:
            self.world.capacity.set(region, Provisioning.SPOT, count)

        @rule(save=st.booleans())
        def preempt(self, save: bool) -> None:
            for job in self.world.all_jobs():
                if job.state is JobState.RUNNING:
                    self.world.vertex.preempt(job.name, save=save)

        def teardown(self) -> None:
            if not hasattr(self, "world"):
                return
            for racer in self.racers.values():
                racer.kill()
            self.world.pass_time(TICK)
            run = play(self.world).state
            assert run is RunState.SUCCEEDED
            assert all(job.state.ended for job in self.world.all_jobs())

    return Machine


def test_with_two_supervisors_every_run_completes(tmp_path: Path) -> None:
    run_state_machine_as_test(machine(tmp_path), settings=settings(max_examples=20, stateful_step_count=30))


@pytest.mark.chaos
def test_with_two_supervisors_every_longer_run_completes(tmp_path: Path) -> None:
    run_state_machine_as_test(machine(tmp_path), settings=settings(max_examples=150, stateful_step_count=60))
