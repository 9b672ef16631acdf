"""Interrupt the run of `spot rehearse` with the faults of a month on Spot VMs, one after the other."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial

from spot.core.run import Attempt, Provisioning
from spot.emulators.capacity import UNLIMITED, ScriptedCapacity
from spot.emulators.faults import LostReply, Method, each, on
from spot.emulators.jobs import JobTable
from spot.emulators.vertex_server import VertexServer

EMPTY, SCARCE = "us-east4", "us-central1"
"""The cheaper region starts without spot capacity; the more expensive region runs out of it."""
REGIONS = (EMPTY, SCARCE)
UNSAVED_STEPS = 10
"""Steps after the newest checkpoint before a preemption without warning."""


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
    """Returns the active attempt once its trainer runs."""
    active: Callable[[], Attempt | None]
    kill_supervisor: Callable[[], None]
    log: Callable[[str], None]


def scenario(controls: Controls) -> Iterator[None]:
    """Wait for each condition, then inject the next fault; resumed many times a second until the run ends."""
    controls.capacity.set(EMPTY, Provisioning.SPOT, 0)
    controls.log(f"no spot capacity in {EMPTY}")

    view = yield from _wait_for(controls, share=0.1)
    controls.log(f"{view.attempt} preempted (SIGTERM): the trainer saves")
    controls.jobs.preempt(view.job, save=True)

    view = yield from _wait_for(controls, share=0.2, unsaved=UNSAVED_STEPS, after=view.job)
    controls.log(f"{view.attempt} preempted without warning (SIGKILL): unsaved steps are lost")
    controls.jobs.preempt(view.job, save=False)
    controls.server.rule = each(LostReply(partial(_crash, controls)), where=on(Method.CREATE), count=1)

    view = yield from _wait_for(controls, share=0.3, after=view.job)
    controls.log(f"{view.attempt} preempted (SIGTERM): no spot capacity in {EMPTY} or {SCARCE}")
    controls.capacity.set(SCARCE, Provisioning.SPOT, 0)

    while not ((active := controls.active()) and active.provisioning is Provisioning.ON_DEMAND):
        yield
    controls.log(f"{active.id} is the fallback to on-demand; spot capacity is back in both regions")
    controls.capacity.set(EMPTY, Provisioning.SPOT, UNLIMITED)
    controls.capacity.set(SCARCE, Provisioning.SPOT, UNLIMITED)


def _wait_for(
    controls: Controls, *, share: float, unsaved: int = 0, after: str = ""
) -> Generator[None, None, AttemptView]:
    """Wait for a spot attempt other than `after` at a share of the steps, with so many steps unsaved."""
    while True:
        view = controls.training()
        if (
            view
            and (view.provisioning is Provisioning.SPOT and view.job != after)
            and (view.step >= share * view.total_steps and view.step - view.durable_step >= unsaved)
        ):
            return view
        yield


def _crash(controls: Controls) -> None:
    controls.kill_supervisor()
    controls.log("supervisor killed after Vertex AI created the job, before it received the reply")
