"""Test that each billed hour belongs to exactly one phase."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from spot.accounting.phases import Phase, by_phase, spans_of
from spot.core.run import Attempt, Observation, Outcome
from tests.machinery.samples import after, attempt, ended, run, seen

NOTHING = Observation()


def trained(outcome: Outcome, **changes: Any) -> Attempt:
    """A machine from 0:10 to 5:00, its trainer from 0:13, steps from 0:20, the newest checkpoint at 4:30."""
    facts: dict[str, Any] = {
        "started_at": after(minutes=10),
        "trainer_started_at": after(minutes=13),
        "advanced_at": after(minutes=20),
        "saved_at": after(minutes=270),
        "starts": 1,
        **changes,
    }
    return ended(outcome, at=after(hours=5), **facts)


def minutes(
    *attempts: Attempt, of: int = -1, seen: Observation = NOTHING, now: datetime | None = None
) -> dict[str, float]:
    """Of one of the attempts, without the phases that took no time."""
    whole = run(*attempts)
    one = whole.attempts[of]
    spans = spans_of(whole, one, seen, now or after(hours=6))
    found = by_phase(one, spans, seen)
    assert sum(found.values(), timedelta()) == sum((span.end - span.start for span in spans), timedelta())
    return {phase: took / timedelta(minutes=1) for phase, took in found.items() if took}


def test_what_a_preempted_attempt_trained_after_its_newest_checkpoint_is_lost() -> None:
    assert minutes(trained(Outcome.PREEMPTED)) == {"starting": 3, "restoring": 7, "training": 250, "lost work": 30}


@pytest.mark.parametrize("outcome", [Outcome.TRAINING_FAILED, Outcome.INTERNAL, Outcome.CANCELLED, Outcome.UNKNOWN])
def test_any_other_early_end_of_an_attempt_is_accounted_likewise(outcome: Outcome) -> None:
    assert minutes(trained(outcome))["lost work"] == 30


def test_nothing_of_an_attempt_that_succeeded_is_lost() -> None:
    assert minutes(trained(Outcome.SUCCEEDED)) == {"starting": 3, "restoring": 7, "training": 280}


def test_what_a_job_does_after_the_model_is_complete_is_not_training() -> None:
    complete = Observation(completed_at=after(minutes=290))
    assert minutes(trained(Outcome.SUCCEEDED), seen=complete) == {
        "starting": 3,
        "restoring": 7,
        "training": 270,
        "unattributed": 10,
    }


def test_what_a_live_attempt_has_trained_is_not_lost_yet() -> None:
    active = attempt(
        started_at=after(minutes=10),
        trainer_started_at=after(minutes=13),
        advanced_at=after(minutes=20),
        saved_at=after(minutes=50),
    )
    assert minutes(active, now=after(hours=1)) == {"starting": 3, "restoring": 7, "training": 40}


def test_training_that_stood_still_for_checkpoints_is_saving() -> None:
    found = minutes(trained(Outcome.PREEMPTED, saving=timedelta(minutes=12)))
    assert (found["training"], found["saving"]) == (238, 12)


def test_more_saving_than_training_is_all_saving() -> None:
    found = minutes(trained(Outcome.PREEMPTED, saving=timedelta(hours=9)))
    assert (found.get("training"), found["saving"]) == (None, 250)


def test_a_machine_whose_trainer_never_began_was_starting_to_its_end() -> None:
    assert minutes(ended(Outcome.PREEMPTED, at=after(hours=1), started_at=after(minutes=10))) == {"starting": 50}


def test_a_trainer_that_never_came_to_a_checkpoint_has_lost_all_it_did() -> None:
    found = minutes(trained(Outcome.PREEMPTED, advanced_at=None, saved_at=None))
    assert found == {"starting": 3, "lost work": 287}


def test_a_live_trainer_without_a_checkpoint_says_nothing_of_what_it_does() -> None:
    active = attempt(started_at=after(minutes=10), trainer_started_at=after(minutes=13))
    assert minutes(active, now=after(hours=1)) == {"starting": 3, "unattributed": 47}


def test_a_record_without_the_trainers_start_counts_it_to_starting() -> None:
    found = minutes(trained(Outcome.PREEMPTED, trainer_started_at=None))
    assert found == {"starting": 10, "training": 250, "lost work": 30}


def test_a_record_without_the_time_of_the_newest_checkpoint_does_not_make_one_up() -> None:
    assert minutes(trained(Outcome.PREEMPTED, saved_at=None)) == {"starting": 3, "restoring": 7, "unattributed": 280}


def test_the_newest_manifest_says_it_where_the_record_does_not() -> None:
    newest = seen(4, at=after(minutes=270), attempt="a1")
    assert minutes(trained(Outcome.PREEMPTED, saved_at=None), seen=newest)["lost work"] == 30


def test_clocks_that_disagree_make_no_phase_run_backwards() -> None:
    found = minutes(trained(Outcome.PREEMPTED, trainer_started_at=after(minutes=5), saved_at=after(hours=7)))
    assert found == {"restoring": 10, "training": 280}


def test_of_a_job_that_was_restarted_inside_only_what_its_steps_take_is_training() -> None:
    """200 steps at the measured 60 an hour; nothing tells the rest apart."""
    newest = seen(4, at=after(minutes=270), attempt="a1")
    found = minutes(trained(Outcome.PREEMPTED, starts=3, last_step=200), seen=newest)
    assert found == {"starting": 3, "restoring": 7, "training": 200, "unattributed": 50, "lost work": 30}


BESIDE: dict[str, Any] = {
    "replaces": "a1",
    "started_at": after(hours=4),
    "trainer_started_at": after(minutes=245),
}
"""A standby whose trainer is ready five minutes after its machine is."""


def test_a_standby_stands_by_until_the_attempt_beside_it_is_gone() -> None:
    holder = trained(Outcome.HANDED_OVER)
    standby = ended(
        Outcome.SUCCEEDED,
        at=after(hours=9),
        **BESIDE,
        advanced_at=after(minutes=302),
    )
    assert minutes(holder, standby) == {"starting": 5, "standby": 55, "restoring": 2, "training": 238}
    assert minutes(holder, standby, of=0) == {"starting": 3, "restoring": 7, "training": 280}


def test_a_holder_that_has_handed_over_trains_no_more_though_its_job_has_not_ended() -> None:
    holder = attempt(started_at=after(minutes=10), trainer_started_at=after(minutes=13), advanced_at=after(minutes=20))
    standby = attempt(
        replaces="a1",
        started_at=after(minutes=40),
        trainer_started_at=after(minutes=43),
        advanced_at=after(minutes=50),
    )
    assert minutes(holder, standby, of=0, now=after(hours=1)) == {
        "starting": 3,
        "restoring": 7,
        "training": 30,
        "unattributed": 10,
    }


def test_a_standby_that_never_took_over_was_standing_by_to_its_end() -> None:
    holder = trained(Outcome.SUCCEEDED)
    standby = ended(
        Outcome.CANCELLED,
        at=after(hours=5),
        **BESIDE,
    )
    assert minutes(holder, standby) == {"starting": 5, "standby": 55}


def test_a_standby_that_was_there_when_the_model_was_complete_has_not_trained() -> None:
    holder = trained(Outcome.SUCCEEDED)
    standby = ended(
        Outcome.CANCELLED,
        at=after(minutes=310),
        **BESIDE,
    )
    assert minutes(holder, standby) == {"starting": 5, "standby": 55, "unattributed": 10}
    came_too_late = ended(Outcome.CANCELLED, at=after(minutes=310), replaces="a1", started_at=after(hours=4))
    assert minutes(holder, came_too_late) == {"starting": 70}


def test_a_holder_that_was_replaced_trains_no_more_though_its_end_was_seen_only_after_the_model() -> None:
    holder = trained(Outcome.SUCCEEDED, last_step=600)
    standby = trained(Outcome.SUCCEEDED, replaces="a1", from_step=240, advanced_at=after(minutes=290), last_step=600)
    complete = Observation(completed_at=after(minutes=299))
    assert minutes(holder, standby, of=0, seen=complete) == {
        "starting": 3,
        "restoring": 7,
        "training": 270,
        "unattributed": 10,
    }


def test_a_standby_that_replaced_a_dead_holder_restores_from_then_on() -> None:
    holder = trained(Outcome.INTERNAL)
    standby = attempt(
        **BESIDE,
        advanced_at=after(minutes=310),
    )
    assert minutes(holder, standby) == {"starting": 5, "standby": 55, "restoring": 10, "training": 50}


def test_an_attempt_without_a_machine_has_no_phases() -> None:
    assert minutes(ended(Outcome.NO_CAPACITY, at=after(hours=1))) == {}


def test_every_phase_is_there_though_it_took_no_time() -> None:
    assert set(by_phase(attempt(), (), NOTHING)) == set(Phase)


def test_an_active_standby_is_on_standby_even_before_its_trainer_is_observed() -> None:
    standby = attempt(replaces="a1", started_at=after(hours=4))
    assert minutes(trained(Outcome.SUCCEEDED), standby, now=after(hours=5)) == {"standby": 60}
    advanced = attempt(replaces="a1", started_at=after(hours=4), advanced_at=after(minutes=302))
    found = minutes(trained(Outcome.HANDED_OVER), advanced, now=after(minutes=310))
    assert found == {"standby": 60, "restoring": 2, "training": 8}


def test_what_was_handed_over_is_not_trained_again() -> None:
    holder = trained(Outcome.HANDED_OVER, last_step=290)
    standby = attempt(replaces="a1", from_step=290, started_at=after(hours=4), advanced_at=after(minutes=302))
    assert minutes(holder, standby, of=0) == {"starting": 3, "restoring": 7, "training": 280}


def test_a_standby_that_never_trained_takes_no_steps_from_the_attempt_beside_it() -> None:
    holder = trained(Outcome.PREEMPTED, last_step=250)
    standby = ended(Outcome.PREEMPTED, at=after(hours=5), replaces="a1", from_step=100, started_at=after(hours=4))
    assert minutes(holder, standby, of=0)["training"] == 250


def test_a_damaged_checkpoint_takes_the_steps_of_every_attempt_that_are_made_again() -> None:
    """120 and 130 steps, of which 150 are made again: all of the second attempt and 20 of the first."""
    tried = (
        trained(Outcome.PREEMPTED, from_step=0, last_step=120),
        trained(Outcome.PREEMPTED, from_step=120, last_step=250),
        trained(Outcome.PREEMPTED, from_step=100, last_step=300),
    )
    assert minutes(*tried, of=0)["training"] == pytest.approx(250 * 100 / 120)
    assert "training" not in minutes(*tried, of=1)
    assert minutes(*tried, of=1)["lost work"] == 280
    assert minutes(*tried, of=2)["training"] == 250
