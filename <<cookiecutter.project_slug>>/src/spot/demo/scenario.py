"""What happens to the run in `spot rehearse`: a script that waits for its cue and then does its worst."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from spot.core.run import Attempt, Provisioning
from spot.emulators.capacity import UNLIMITED, Scripted
from spot.emulators.faults import LostReply, Method, each, on
from spot.emulators.jobs import Jobs
from spot.emulators.vertex_server import VertexServer

DRY, WET = "us-east4", "us-central1"
"""The cheaper region has no spot machines, the other one has them for a while; later both have."""
REGIONS = (DRY, WET)
UNSAVED_STEPS = 10
"""A machine that is taken without warning is taken when there is so much to lose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A running attempt, as the script sees it."""

    job: str
    attempt: str
    provisioning: Provisioning
    step: int
    total_steps: int
    durable_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """What the script can look at and act on."""

    capacity: Scripted
    jobs: Jobs
    server: VertexServer
    running: Callable[[], Scene | None]
    """The attempt whose trainer makes steps, None if there is none."""
    active: Callable[[], Attempt | None]
    """The attempt that lives."""
    kill_supervisor: Callable[[], None]
    tell: Callable[[str], None]


def story(cast: Cast) -> Iterator[None]:
    """Resumed again and again until it is told to the end; each cue is waited for."""
    cast.capacity.set(DRY, Provisioning.SPOT, 0)
    cast.tell(f"{DRY} has no spot machines, {WET} has")

    scene = yield from _cue(cast, share=0.1)
    cast.tell(f"{WET} wants its machine back from {scene.attempt}: SIGTERM, and the trainer saves")
    cast.jobs.preempt(scene.job, save=True)

    scene = yield from _cue(cast, share=0.2, unsaved=UNSAVED_STEPS, after=scene.job)
    cast.tell(f"{WET} takes the machine of {scene.attempt} without a warning: SIGKILL, nothing is saved")
    cast.jobs.preempt(scene.job, save=False)
    cast.server.rule = each(
        LostReply(meanwhile=_and_say(cast, "the supervisor is killed: its create took effect, it never hears of it")),
        where=on(Method.CREATE),
        count=1,
    )

    scene = yield from _cue(cast, share=0.3, after=scene.job)
    cast.tell(f"{WET} wants its machine back from {scene.attempt}, and has no other one any more")
    cast.capacity.set(WET, Provisioning.SPOT, 0)

    while not ((active := cast.active()) and active.provisioning is Provisioning.ON_DEMAND):
        yield
    cast.tell(f"{active.id} is asked for on demand, and there are spot machines again")
    cast.capacity.set(DRY, Provisioning.SPOT, UNLIMITED)
    cast.capacity.set(WET, Provisioning.SPOT, UNLIMITED)


def _cue(cast: Cast, *, share: float, unsaved: int = 0, after: str = "") -> Generator[None, None, Scene]:
    """Wait until a spot attempt, another one than `after`, is so far, with so many steps not yet saved."""
    while True:
        scene = cast.running()
        if (
            scene
            and (scene.provisioning is Provisioning.SPOT and scene.job != after)
            and (scene.step >= share * scene.total_steps and scene.step - scene.durable_step >= unsaved)
        ):
            return scene
        yield


def _and_say(cast: Cast, line: str) -> Callable[[], None]:
    def act() -> None:
        cast.kill_supervisor()
        cast.tell(line)

    return act
