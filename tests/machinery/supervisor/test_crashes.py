"""Test that a kill or a lost answer at any call, before or after its effect, changes no result of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from spot.core.errors import TemporarilyUnavailable
from spot.core.run import Outcome, Provisioning
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.faults import Call, Injection, LostReply, never
from spot.emulators.jobs import JobTable as Vertex
from spot.emulators.vertex_server import VertexServer
from spot.google.vertex import JobClient, VertexJobs
from spot.storage.base import Store
from spot.storage.factory import open_store
from tests.machinery.clocks import ManualClock
from tests.machinery.emulators.faults import Reset
from tests.machinery.emulators.idle import IdleLauncher
from tests.machinery.storage.memory import MemoryStore
from tests.machinery.supervisor.crashes import (
    FALLBACK,
    FIRST,
    HAND_OVER,
    SECOND,
    TICK,
    Killed,
    Scene,
    World,
    check_end,
    play,
)
from tests.machinery.supervisor.direct_jobs import DirectJobs
from tests.machinery.supervisor.watched import CHANGING, Fault, Plan, When, at

SPARSE, WHOLE = False, True
Api = Callable[[Vertex], JobClient]
Records = Callable[[str], Store]


def unanswered(what: str) -> Exception:
    """Return the error of a client that got no answer."""
    return TemporarilyUnavailable(f"injected: {what}")


def killed(_what: str) -> BaseException:
    return Killed()


def calls(folder: Path, api: Api = DirectJobs, records: Records = MemoryStore, *, scene: Scene = FALLBACK) -> list[str]:
    """Return the calls of the scene without an injected fault."""
    world = World(str(folder / "undisturbed"), scene=scene, jobs=api, records=records)
    check_end(world, play(world))
    return world.calls


def walk(
    folder: Path,
    error: Callable[[str], BaseException],
    when: When,
    wanted: Callable[[str], bool],
    api: Api = DirectJobs,
    records: Records = MemoryStore,
    *,
    pause: timedelta = timedelta(),
    scene: Scene = FALLBACK,
    whole: bool = True,
) -> int:
    """Play the scene once for each wanted call, with a fault at it, and return how many there were.

    Unless `whole`, disturb a call only where it first follows a change of that kind.
    """
    places = [(number, what) for number, what in enumerate(calls(folder, api, records, scene=scene), 1) if wanted(what)]
    for number, what in places if whole else first_after_each_change(places):
        plan = at(number, Fault(when=when, error=error(what)))
        world = World(str(folder / str(number)), scene=scene, jobs=api, records=records, plan=plan)
        try:
            check_end(world, play(world, pause=pause))
        except AssertionError as found:
            found.add_note(f"{when} call {number}, {what}")
            raise
    return len(places)


def first_after_each_change(places: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the calls that no earlier call of the same text precedes after a change of the same text."""
    met = set[tuple[str, str]]()
    change = ""
    for number, what in places:
        if (change, what) not in met:
            met.add((change, what))
            yield number, what
        if changes(what):
            change = what


def changes(what: str) -> bool:
    return what.startswith(CHANGING)


def asks_vertex_to_act(what: str) -> bool:
    return what.startswith(("create ", "cancel "))


def any_call(_what: str) -> bool:
    return True


def test_the_scenario_has_every_action_of_a_supervisor(tmp_path: Path) -> None:
    world = World(str(tmp_path))
    run = play(world)
    check_end(world, run)
    actions = [re.sub(r" in .*| a\d+", "", decision.action) for decision in run.decisions]
    assert set(actions) == {
        "submit spot",
        "cancel (no-capacity)",
        "cancel (fallback)",
        "submit on-demand",
        "close as succeeded",
    }
    assert {f"create {FIRST}", f"create {SECOND}", "find a2", "starts a2"} <= set(world.calls)


def test_the_hand_over_has_a_standby_and_no_cancel_of_on_demand(tmp_path: Path) -> None:
    world = World(str(tmp_path), scene=HAND_OVER)
    run = play(world)
    check_end(world, run)
    (holder, standby) = [attempt for attempt in run.attempts if attempt.advanced_at]
    assert (standby.replaces, standby.from_step) == (holder.id, holder.last_step)
    assert holder.cancel is None


@pytest.mark.parametrize(
    "scene",
    [pytest.param(FALLBACK, id="fallback"), pytest.param(HAND_OVER, id="hand-over", marks=pytest.mark.chaos)],
)
def test_a_kill_after_any_changing_call_changes_no_result(scene: Scene, tmp_path: Path) -> None:
    # A kill before the next such call finds the same world, because all calls between only read.
    assert walk(tmp_path, killed, When.AFTER, changes, scene=scene) > 30


@pytest.mark.parametrize("when", When)
def test_an_unanswered_create_or_cancel_changes_no_result(when: When, tmp_path: Path) -> None:
    assert walk(tmp_path, unanswered, when, asks_vertex_to_act) >= 8


@pytest.fixture
def api() -> Iterator[tuple[VertexServer, Api]]:
    """Provide the real client over HTTP; the server serves the world of the last call."""
    with VertexServer(Vertex(EmulatedCapacity(), IdleLauncher(), ManualClock())) as server:
        client = VertexJobs(server.url, give_up_s=0.01)

        def serve(vertex: Vertex) -> JobClient:
            server.jobs = vertex
            return client

        yield server, serve


@pytest.mark.chaos
@pytest.mark.parametrize("when", [When.AFTER, When.BEFORE])
def test_a_kill_changes_no_result_with_the_real_client_and_a_real_store_either(
    when: When, tmp_path: Path, api: tuple[VertexServer, Api]
) -> None:
    assert walk(tmp_path, killed, when, changes, api[1], open_store) > 30


@pytest.mark.parametrize(
    ("fault", "whole"),
    [
        pytest.param(LostReply(), SPARSE, id="after-sparse"),
        pytest.param(LostReply(), WHOLE, id="after-whole", marks=pytest.mark.chaos),
        pytest.param(Reset(), WHOLE, id="before-whole", marks=pytest.mark.chaos),
    ],
)
def test_any_connection_to_vertex_may_break(
    fault: Injection, whole: bool, tmp_path: Path, api: tuple[VertexServer, Api]
) -> None:
    server, serve = api
    calls(tmp_path, serve, open_store)
    places = [(number, f"{call.method} {call.region} {call.job}") for number, call in enumerate(server.calls, 1)]
    for number, _ in places if whole else list(first_after_each_change(places)):

        def rule(_: Call, broken: int = len(server.calls) + number) -> Injection | None:
            return fault if len(server.calls) == broken else None

        server.rule = rule
        world = World(str(tmp_path / str(number)), jobs=serve, records=open_store)
        check_end(world, play(world))
        server.rule = never


@pytest.mark.parametrize(
    ("scene", "when", "whole"),
    [
        pytest.param(FALLBACK, When.BEFORE, SPARSE, id="fallback-before-sparse"),
        pytest.param(HAND_OVER, When.AFTER, WHOLE, id="hand-over-after-whole", marks=pytest.mark.chaos),
        pytest.param(FALLBACK, When.AFTER, WHOLE, id="fallback-after-whole", marks=pytest.mark.chaos),
        pytest.param(FALLBACK, When.BEFORE, WHOLE, id="fallback-before-whole", marks=pytest.mark.chaos),
        pytest.param(HAND_OVER, When.BEFORE, WHOLE, id="hand-over-before-whole", marks=pytest.mark.chaos),
    ],
)
def test_any_call_may_go_unanswered(scene: Scene, when: When, whole: bool, tmp_path: Path) -> None:
    assert walk(tmp_path, unanswered, when, any_call, scene=scene, whole=whole) > 100


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize(
    "whole", [pytest.param(SPARSE, id="sparse"), pytest.param(WHOLE, id="whole", marks=pytest.mark.chaos)]
)
def test_a_successor_one_interval_later_has_the_same_result(when: When, whole: bool, tmp_path: Path) -> None:
    assert walk(tmp_path, killed, when, changes, pause=TICK, whole=whole) > 30


def test_a_region_that_never_answers_is_left_for_another_one(tmp_path: Path) -> None:
    """A misspelled region behaves so: its server has no address."""
    scene = replace(
        FALLBACK, deadline_hours=6, useful=[FALLBACK.useful[0], (Provisioning.ON_DEMAND, SECOND, Outcome.SUCCEEDED)]
    )
    world = World(str(tmp_path), scene=scene, plan=silence_of(FIRST))
    run = play(world)
    check_end(world, run)
    assert run.ended_at
    assert run.ended_at < run.spec.deadline
    assert all(item.never_created for item in run.attempts if item.region == FIRST)


def silence_of(region: str) -> Plan:
    """Return a plan in which neither a create in the region nor a search for its job gets an answer."""
    silent: dict[str, bool] = {}

    def plan(_number: int, what: str) -> Fault | None:
        verb, _, name = what.partition(" ")
        if verb == "create":
            silent[f"a{len(silent) + 1}"] = name == region
        unheard = (verb == "create" and name == region) or (verb == "find" and silent[name])
        return Fault(when=When.BEFORE, error=unanswered(what)) if unheard else None

    return plan
