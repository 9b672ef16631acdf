"""Interrupt the run of a rehearsal: the scripted scenario, and random ones."""

import random
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from spot.core.job import JobState
from spot.core.run import Attempt, Provisioning
from spot.emulators.capacity import UNLIMITED, ScriptedCapacity
from spot.emulators.faults import LostReply, Method, each, on
from spot.emulators.jobs import JobTable
from spot.emulators.machines import EmulatedMachine
from spot.emulators.vertex_server import VertexServer

EMPTY, SCARCE = "us-east4", "us-central1"
"""The cheaper region starts without spot capacity; the more expensive region runs out of it."""
REGIONS = (EMPTY, SCARCE)
UNSAVED = 1 / 60
"""The share of the training that is not saved at a preemption without warning."""
ON_DEMAND_FIRST = timedelta(minutes=20)
"""Training on demand before spot capacity is back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """Show the scenario a training attempt."""

    job: str
    attempt: str
    provisioning: Provisioning
    step: int
    total_steps: int
    durable_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """Hold what the scenario reads and changes."""

    capacity: ScriptedCapacity
    jobs: JobTable
    server: VertexServer
    training: Callable[[], AttemptView | None]
    """Returns the active attempt once its trainer trains."""
    active: Callable[[], Attempt | None]
    now: Callable[[], datetime]
    kill_supervisor: Callable[[str], None]
    """Kills it and says when."""
    log: Callable[[str], None]
    machines: Callable[[str], Sequence[EmulatedMachine]] = lambda job: ()  # noqa: ARG005
    """Returns those of a job with several ranks."""


Script = Callable[[Controls], Iterator[None]]


def scenario(controls: Controls) -> Iterator[None]:
    """Wait for each condition, then inject the next fault; resumed at each moment until the run ends."""
    controls.capacity.set(EMPTY, Provisioning.SPOT, 0)
    controls.log(f"no spot capacity in {EMPTY}")

    view = yield from _wait_for(controls, share=0.2)
    last = max(len(controls.machines(view.job)) - 1, 0)
    of = f"machine {last + 1} of " if last else ""
    controls.log(f"{of}{view.attempt} is preempted with a warning (SIGTERM): the trainer saves")
    controls.jobs.preempt(view.job, save=True, replica=last)

    view = yield from _wait_for(controls, share=0.4, unsaved=UNSAVED, after=view.job)
    lost = view.step - view.durable_step
    controls.log(f"{view.attempt} is preempted without warning (SIGKILL): {lost} unsaved steps are lost")
    controls.jobs.preempt(view.job, save=False)
    controls.server.rule = each(LostReply(partial(_crash, controls)), where=on(Method.CREATE), count=1)

    if last:
        view = yield from _wait_for(controls, share=0.5, after=view.job)
        controls.log(f"machine {last + 1} of {view.attempt} loses its network: its peers leave")
        controls.machines(view.job)[last].disconnect()

    view = yield from _wait_for(controls, share=0.6, after=view.job)
    controls.log(f"{view.attempt} is preempted (SIGTERM): no spot capacity in {EMPTY} or {SCARCE}")
    controls.capacity.set(SCARCE, Provisioning.SPOT, 0)

    while not ((newest := controls.training()) and newest.provisioning is Provisioning.ON_DEMAND):
        yield
    until = controls.now() + ON_DEMAND_FIRST
    while controls.now() < until:
        yield
    controls.log("spot capacity is back in both regions")
    controls.capacity.set(EMPTY, Provisioning.SPOT, UNLIMITED)
    controls.capacity.set(SCARCE, Provisioning.SPOT, UNLIMITED)


def random_scenario(controls: Controls, seed: int) -> Iterator[None]:
    """Preempt attempts, change capacity and kill supervisors at random moments."""
    chance = random.Random(seed)  # a scenario, no secret
    while True:
        for region in REGIONS:
            count = chance.choice([0, UNLIMITED, UNLIMITED])
            controls.capacity.set(region, Provisioning.SPOT, count)
            controls.log(f"{'no ' if count == 0 else ''}spot capacity in {region}")
        until = controls.now() + timedelta(minutes=chance.uniform(5, 150))
        if chance.random() < 1 / 3:
            controls.server.rule = each(LostReply(partial(_crash, controls)), where=on(Method.CREATE), count=1)
        while controls.now() < until:
            yield
        if chance.random() < 1 / 4:
            controls.kill_supervisor("between two reconciles")
        view = controls.training()
        if (
            view
            and view.provisioning is Provisioning.SPOT
            and controls.jobs.get(view.job).state is JobState.RUNNING  # not cancelled
        ):
            save = chance.random() < 1 / 2
            controls.log(f"{view.attempt} is preempted {'(SIGTERM)' if save else 'without warning (SIGKILL)'}")
            machines = range(len(controls.machines(view.job)))
            replica = chance.choice([None, *machines]) if machines else None
            controls.jobs.preempt(view.job, save=save, replica=replica)


def _wait_for(
    controls: Controls, *, share: float, unsaved: float = 0.0, after: str = ""
) -> Generator[None, None, AttemptView]:
    """Wait for a spot attempt other than `after` at a share of the steps, with so much of it unsaved."""
    while True:
        view = controls.training()
        if (
            view
            and (view.provisioning is Provisioning.SPOT and view.job != after)
            and (view.step >= share * view.total_steps and view.step - view.durable_step >= unsaved * view.total_steps)
        ):
            return view
        yield


def _crash(controls: Controls) -> None:
    controls.kill_supervisor("before it has the reply to its create")
