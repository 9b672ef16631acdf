"""Test that a replay follows its model to the minute, and skips reconciles that cannot decide anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from spot.core.actions import Action, Wait
from spot.core.history import CancelReason
from spot.core.run import Observation, Outcome, Provisioning, Run, RunState
from spot.policy import decide
from spot.simulation.cloud import ReplayError
from spot.simulation.replay import Decide, Replayed, horizon, replay
from spot.simulation.startup_times import StartupRanges, StartupTimes
from spot.simulation.traces import Spans, shipped, windows
from tests.machinery import samples
from tests.machinery.supervisor.scripted import MINUTE, cancel, follow, startup_times, submit

SPOT, ON_DEMAND = Provisioning.SPOT, Provisioning.ON_DEMAND
ALWAYS: Spans = ((0, 10_000),)


def a_run(*, work: int = 60, reconcile_interval: int = 1, loss: int = 15, **changes: Any) -> Run:
    return samples.run(
        work=work * MINUTE,
        reconcile_interval=reconcile_interval * MINUTE,
        max_checkpoint_interval=loss * MINUTE,
        **changes,
    )


def replay_script(script: Mapping[int, Action], *spans: Spans, run: Run | None = None) -> Replayed:
    """Replay a script with the spot capacity `spans` of us-central1 and us-east4."""
    capacity = dict(zip(("us-central1", "us-east4"), spans or (ALWAYS,), strict=False))
    return replay(run or a_run(), follow(script), capacity, startup_times())


def times(replayed: Replayed) -> list[tuple[Outcome | None, int | None, int | None, int | None]]:
    """Return of each attempt: outcome, minutes of its start and end, and the last step."""
    submitted_at = replayed.run.submitted_at

    def minute(moment: datetime | None) -> int | None:
        return None if moment is None else (moment - submitted_at) // MINUTE

    return [(one.outcome, minute(one.started_at), minute(one.ended_at), one.last_step) for one in replayed.run.attempts]


def test_spot_is_provisioned_restores_trains_and_is_billed_while_running() -> None:
    found = replay_script({0: submit()})
    assert times(found) == [(Outcome.SUCCEEDED, 5, 67, 60)]
    assert (found.completed_at, found.run.state) == (67, RunState.SUCCEEDED)
    assert found.usd == pytest.approx(62 / 60 * 0.5)


def test_spot_waits_for_capacity_free_of_charge() -> None:
    found = replay_script({0: submit()}, ((30, 10_000),))
    assert times(found) == [(Outcome.SUCCEEDED, 35, 97, 60)]
    assert found.usd == pytest.approx(62 / 60 * 0.5)


def test_spot_waits_again_if_the_capacity_ends_while_its_machine_is_provisioned() -> None:
    assert times(replay_script({0: submit()}, ((0, 5), (30, 10_000)))) == [(Outcome.SUCCEEDED, 35, 97, 60)]
    assert times(replay_script({0: submit()}, ((0, 6), (30, 10_000))))[0][:3] == (Outcome.PREEMPTED, 5, 6)


def test_a_preemption_loses_the_steps_after_the_newest_checkpoint() -> None:
    found = replay_script({0: submit(), 40: submit()}, ((0, 40), (41, 10_000)))
    assert times(found) == [(Outcome.PREEMPTED, 5, 40, 30), (Outcome.SUCCEEDED, 46, 78, 60)]
    assert (found.run.preemptions, found.run.attempts[1].from_step) == (1, 30)


@pytest.mark.parametrize(("share", "kept"), [(0.0, 30), (1.0, 33)])
def test_a_preemption_that_the_trainer_saves_before_loses_no_step(share: float, kept: int) -> None:
    found = replay_script({0: submit(), 40: submit()}, ((0, 40), (41, 10_000)), run=a_run(saved_share=share))
    assert times(found) == [(Outcome.PREEMPTED, 5, 40, kept), (Outcome.SUCCEEDED, 46, 48 + 60 - kept, 60)]


def test_a_preemption_before_the_first_step_leaves_the_run_where_it_was() -> None:
    found = replay_script({0: submit(), 7: submit()}, ((0, 7), (8, 10_000)))
    assert times(found)[0] == (Outcome.PREEMPTED, 5, 7, 0)
    assert found.run.attempts[0].advanced_at is None
    assert found.completed_at == 8 + 5 + 2 + 60


def test_work_finished_in_the_minute_of_the_preemption_counts() -> None:
    assert times(replay_script({0: submit()}, ((0, 67),))) == [(Outcome.SUCCEEDED, 5, 67, 60)]


def test_on_demand_starts_without_spot_capacity_and_is_never_preempted() -> None:
    found = replay_script({0: submit(ON_DEMAND)}, ())
    assert times(found) == [(Outcome.SUCCEEDED, 5, 67, 60)]
    assert found.usd == pytest.approx(62 / 60 * 1.0)


def test_a_cancelled_attempt_saves_first_and_a_cancelled_wait_ends_without_capacity() -> None:
    script: dict[int, Action] = {
        0: submit(ON_DEMAND),
        30: cancel("a1"),
        31: submit(),
        51: cancel("a2", CancelReason.NO_CAPACITY),
    }
    found = replay_script({**script, 52: submit(ON_DEMAND)}, ())
    assert times(found) == [
        (Outcome.CANCELLED, 5, 30, 23),
        (Outcome.NO_CAPACITY, None, 51, 23),
        (Outcome.SUCCEEDED, 57, 96, 60),
    ]


def test_a_standby_replaces_on_demand_once_it_has_restored_and_no_step_is_lost() -> None:
    found = replay_script({0: submit(ON_DEMAND), 20: submit(replaces="a1")})
    assert times(found) == [(Outcome.HANDED_OVER, 5, 27, 20), (Outcome.SUCCEEDED, 25, 67, 60)]
    assert found.usd == pytest.approx(42 / 60 * 0.5 + 22 / 60)


def test_only_a_standby_takes_over_and_on_demand_that_has_restored_leaves_it_waiting() -> None:
    found = replay_script({0: submit(ON_DEMAND), 5: submit(replaces="a1")}, ((30, 10_000),))
    assert times(found) == [(Outcome.HANDED_OVER, 5, 37, 30), (Outcome.SUCCEEDED, 35, 67, 60)]


def test_a_standby_preempted_before_the_hand_over_leaves_on_demand_running() -> None:
    found = replay_script({0: submit(ON_DEMAND), 20: submit(replaces="a1")}, ((0, 26),))
    assert times(found) == [(Outcome.SUCCEEDED, 5, 67, 60), (Outcome.PREEMPTED, 25, 26, 15)]


def test_a_standby_whose_holder_is_cancelled_continues_alone() -> None:
    found = replay_script({0: submit(ON_DEMAND), 20: submit(replaces="a1"), 26: cancel("a1")})
    assert times(found) == [(Outcome.CANCELLED, 5, 26, 19), (Outcome.SUCCEEDED, 25, 27 + 41, 60)]


def test_a_standby_that_starts_after_the_model_is_complete_ends_by_itself() -> None:
    found = replay_script({0: submit(ON_DEMAND), 61: submit(replaces="a1")})
    assert times(found) == [(Outcome.SUCCEEDED, 5, 67, 60), (Outcome.SUCCEEDED, 66, 68, 60)]
    assert found.completed_at == 67


def test_an_attempt_past_its_timeout_ends_as_if_it_were_preempted() -> None:
    found = replay_script({0: submit(timeout=40 * MINUTE), 50: submit()})
    assert times(found) == [(Outcome.EXPIRED, 5, 45, 30), (Outcome.SUCCEEDED, 55, 87, 60)]


def test_a_supervisor_observes_checkpoints_only() -> None:
    steps: list[int] = []

    def recording(run: Run, seen: Observation, now: datetime) -> Action:
        steps.append(seen.progress.step if seen.progress else 0)
        action = script(run, seen, now)
        return replace(action, until=now + MINUTE) if isinstance(action, Wait) else action

    script = follow({0: submit()})
    replay(a_run(), recording, {"us-central1": ALWAYS}, startup_times())
    assert [steps.count(step) for step in (0, 15, 30, 45, 60)] == [23, 15, 15, 15, 1]


def test_reconciles_come_on_a_grid_and_observe_all_events_since_the_last() -> None:
    found = replay_script({0: submit(), 41: submit(ON_DEMAND)}, ((0, 40),), run=a_run(reconcile_interval=15))
    assert [decision.at for decision in found.run.decisions] == [samples.after(minutes=at) for at in (0, 45, 90)]


def test_a_late_run_continues_and_is_charged_to_its_end() -> None:
    late = replay_script({0: submit(ON_DEMAND)}, run=a_run(deadline=samples.after(minutes=66)))
    in_time = replay_script({0: submit(ON_DEMAND)}, run=a_run(deadline=samples.after(minutes=67)))
    assert (late.missed, in_time.missed) == (True, False)
    assert late.usd == in_time.usd


def test_a_run_without_an_end_stays_open_and_has_missed_its_deadline() -> None:
    found = replay_script({0: submit()}, ())
    assert (found.run.state, found.completed_at, found.missed) == (RunState.OPEN, None, True)
    assert found.until == 5 * 24 * 60


def test_an_attempt_that_still_runs_at_the_horizon_is_charged_until_then() -> None:
    endless = a_run(work=10_000, deadline=samples.after(hours=1))
    found = replay_script({0: submit(ON_DEMAND)}, run=endless)
    assert (found.run.state, found.missed) == (RunState.OPEN, True)
    assert found.usd == pytest.approx((300 - 5) / 60)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ({0: submit(Provisioning.FLEX_START)}, "no capacity is known for flex-start in 'us-central1'"),
        ({0: submit(region="mars-north1")}, "no capacity is known for spot in 'mars-north1'"),
        ({0: submit(), 1: submit()}, r"a2 does not replace the only active attempt \(a1\)"),
        (
            {0: submit(), 1: submit(replaces="a1"), 2: submit(replaces="a1")},
            r"a3 does not replace the only active attempt \(a1, a2\)",
        ),
    ],
)
def test_an_action_without_a_model_is_refused(script: Mapping[int, Action], message: str) -> None:
    with pytest.raises(ReplayError, match=message):
        replay_script(script)


def test_an_unknown_price_is_refused_and_not_zero() -> None:
    found = replay_script({0: submit()}, run=a_run(usd_per_hour={}))
    with pytest.raises(ReplayError, match="no price is known for one of us-central1, us-east4"):
        assert found.usd


@pytest.mark.parametrize("hand_over", [True, False])
@pytest.mark.parametrize("reconcile_interval", [1, 15])
def test_the_policy_decides_the_same_if_it_is_called_at_every_reconcile(
    hand_over: bool, reconcile_interval: int
) -> None:
    """Therefore a call after each observation and at each `until` suffices."""
    regions = ["europe-west1"]
    draws = StartupTimes.drawn(StartupRanges(), regions, seed=3)
    found = windows(shipped(), regions, 8, 24 * 60)
    run = a_run(
        work=15 * 60,
        reconcile_interval=reconcile_interval,
        hand_over=hand_over,
        regions=tuple(regions),
        usd_per_hour={},
    )
    for start in found.drawn(2, seed=reconcile_interval):
        capacity = found.capacity(start, horizon(run))
        sparse, dense = (
            replay(run, decide, capacity, draws.at(start)) for decide in (decide.decide, at_every_reconcile)
        )
        assert len(sparse.run.attempts) > 2
        assert sparse.run.attempts == dense.run.attempts


def at_every_reconcile(run: Run, seen: Observation, now: datetime) -> Action:
    action = decide.decide(run, seen, now)
    return replace(action, until=now + run.spec.policy.reconcile_interval) if isinstance(action, Wait) else action


def test_a_day_without_preemptions_takes_few_reconciles() -> None:
    run, reconciles = a_run(work=16 * 60), 0

    def counted(run: Run, seen: Observation, now: datetime) -> Action:
        nonlocal reconciles
        reconciles += 1
        return decide.decide(run, seen, now)

    counting: Decide = counted
    found = replay(run, counting, {"us-central1": ALWAYS, "us-east4": ALWAYS}, startup_times())
    assert found.run.state is RunState.SUCCEEDED
    assert reconciles < 15
