"""Interrupt the run of a rehearsal: the scripted scenario, and random ones."""

import random
from collections.abc import Generator, Iterator
from datetime import timedelta

from spot.core.job import JobState
from spot.core.run import Provisioning
from spot.demo.environment import REGIONS
from spot.demo.runner import Rehearsal, TrainingView
from spot.emulators.capacity import UNLIMITED
from spot.emulators.faults import Call, LostReply, Method, never

EMPTY, SCARCE = REGIONS
"""The cheaper region starts without spot capacity; the more expensive region runs out of it."""
UNSAVED = 1 / 60
"""The share of the training that is not saved at a preemption without warning."""
ON_DEMAND_FIRST = timedelta(minutes=20)
"""Training on demand before spot capacity is back."""


def undisturbed(_: Rehearsal) -> Iterator[None]:
    return iter(())


def scenario(rehearsal: Rehearsal) -> Iterator[None]:
    """Wait for each condition, then inject the next fault; resumed at each moment until the run ends."""
    rehearsal.capacity.set(EMPTY, Provisioning.SPOT, 0)
    rehearsal.log(f"no spot capacity in {EMPTY}")

    view = yield from _wait_for(rehearsal, share=0.2)
    last = max(len(rehearsal.machines(view.job)) - 1, 0)
    of = f"machine {last + 1} of " if last else ""
    rehearsal.log(f"{of}{view.attempt} is preempted with a warning (SIGTERM): the trainer saves")
    rehearsal.jobs.preempt(view.job, save=True, replica=last)

    view = yield from _wait_for(rehearsal, share=0.4, unsaved=UNSAVED, after=view.job)
    lost = view.step - view.durable_step
    rehearsal.log(f"{view.attempt} is preempted without warning (SIGKILL): {lost} unsaved steps are lost")
    rehearsal.jobs.preempt(view.job, save=False)
    _crash_at_next_create(rehearsal)

    if last:
        view = yield from _wait_for(rehearsal, share=0.5, after=view.job)
        rehearsal.log(f"machine {last + 1} of {view.attempt} loses its network: its peers leave")
        rehearsal.machines(view.job)[last].disconnect()

    view = yield from _wait_for(rehearsal, share=0.6, after=view.job)
    rehearsal.log(f"{view.attempt} is preempted (SIGTERM): no spot capacity in {EMPTY} or {SCARCE}")
    rehearsal.capacity.set(SCARCE, Provisioning.SPOT, 0)

    while not ((newest := rehearsal.training()) and newest.provisioning is Provisioning.ON_DEMAND):
        yield
    until = rehearsal.now() + ON_DEMAND_FIRST
    while rehearsal.now() < until:
        yield
    rehearsal.log("spot capacity is back in both regions")
    rehearsal.capacity.set(EMPTY, Provisioning.SPOT, UNLIMITED)
    rehearsal.capacity.set(SCARCE, Provisioning.SPOT, UNLIMITED)


def random_scenario(rehearsal: Rehearsal, seed: int) -> Iterator[None]:
    """Preempt attempts, change capacity and kill supervisors at random moments."""
    chance = random.Random(seed)  # a scenario, no secret
    while True:
        for region in REGIONS:
            count = chance.choice([0, UNLIMITED, UNLIMITED])
            rehearsal.capacity.set(region, Provisioning.SPOT, count)
            rehearsal.log(f"{'no ' if count == 0 else ''}spot capacity in {region}")
        until = rehearsal.now() + timedelta(minutes=chance.uniform(5, 150))
        if chance.random() < 1 / 3:
            _crash_at_next_create(rehearsal)
        while rehearsal.now() < until:
            yield
        if chance.random() < 1 / 4:
            rehearsal.kill_supervisor("between two reconciles")
        view = rehearsal.training()
        if (
            view
            and view.provisioning is Provisioning.SPOT
            and rehearsal.jobs.get(view.job).state is JobState.RUNNING  # not cancelled
        ):
            save = chance.random() < 1 / 2
            rehearsal.log(f"{view.attempt} is preempted {'(SIGTERM)' if save else 'without warning (SIGKILL)'}")
            machines = range(len(rehearsal.machines(view.job)))
            replica = chance.choice([None, *machines]) if machines else None
            rehearsal.jobs.preempt(view.job, save=save, replica=replica)


def _wait_for(
    rehearsal: Rehearsal, *, share: float, unsaved: float = 0.0, after: str = ""
) -> Generator[None, None, TrainingView]:
    """Wait for a spot attempt other than `after` at a share of the steps, with so much of it unsaved."""
    while True:
        view = rehearsal.training()
        if (
            view
            and (view.provisioning is Provisioning.SPOT and view.job != after)
            and (view.step >= share * view.total_steps and view.step - view.durable_step >= unsaved * view.total_steps)
        ):
            return view
        yield


def _crash_at_next_create(rehearsal: Rehearsal) -> None:
    """Kill the supervisor between the effect of its next create and the reply."""

    def rule(call: Call) -> LostReply | None:
        if call.method is not Method.CREATE:
            return None
        rehearsal.server.rule = never
        return LostReply(lambda: rehearsal.kill_supervisor("before it has the reply to its create"))

    rehearsal.server.rule = rule
