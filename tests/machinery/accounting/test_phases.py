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
    """Return an attempt: machine 0:10 to 5:00, trainer from 0:13, steps from 0:20, newest checkpoint 4:30."""
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
    """Return the minutes of each phase of one attempt, without phases that took no time."""
    whole = run(*attempts)
    one = whole.attempts[of]
    spans = spans_of(whole, one, seen, now or after(hours=6))
    found = by_phase(one, spans, seen)
    assert sum(found.values(), timedelta()) == sum((span.end - span.start for span in spans), timedelta())
    return {phase: took / timedelta(minutes=1) for phase, took in found.items() if took}


def test_training_of_a_preempted_attempt_after_its_newest_checkpoint_is_lost() -> None:
    assert minutes(trained(Outcome.PREEMPTED)) == {"starting": 3, "restoring": 7, "training": 250, "lost work": 30}


@pytest.mark.parametrize("outcome", [Outcome.TRAINING_FAILED, Outcome.INTERNAL, Outcome.CANCELLED, Outcome.UNKNOWN])
def test_any_other_early_end_of_an_attempt_is_accounted_likewise(outcome: Outcome) -> None:
    assert minutes(trained(outcome))["lost work"] == 30


def test_no_training_of_a_successful_attempt_is_lost() -> None:
    assert minutes(trained(Outcome.SUCCEEDED)) == {"starting": 3, "restoring": 7, "training": 280}


def test_time_after_the_model_is_complete_is_not_training() -> None:
    complete = Observation(completed_at=after(minutes=290))
    assert minutes(trained(Outcome.SUCCEEDED), seen=complete) == {
        "starting": 3,
        "restoring": 7,
        "training": 270,
        "unattributed": 10,
    }


def test_training_of_an_active_attempt_is_not_lost_yet() -> None:
    active = attempt(
        started_at=after(minutes=10),
        trainer_started_at=after(minutes=13),
        advanced_at=after(minutes=20),
        saved_at=after(minutes=50),
    )
    assert minutes(active, now=after(hours=1)) == {"starting": 3, "restoring": 7, "training": 40}


def test_time_that_training_waits_for_checkpoints_is_saving() -> None:
    found = minutes(trained(Outcome.PREEMPTED, saving=timedelta(minutes=12)))
    assert (found["training"], found["saving"]) == (238, 12)


def test_more_saving_than_training_is_all_saving() -> None:
    found = minutes(trained(Outcome.PREEMPTED, saving=timedelta(hours=9)))
    assert (found.get("training"), found["saving"]) == (None, 250)


def test_a_machine_whose_trainer_never_started_was_starting_to_its_end() -> None:
    assert minutes(ended(Outcome.PREEMPTED, at=after(hours=1), started_at=after(minutes=10))) == {"starting": 50}


def test_a_trainer_without_a_checkpoint_has_lost_all_its_work() -> None:
    found = minutes(trained(Outcome.PREEMPTED, advanced_at=None, saved_at=None))
    assert found == {"starting": 3, "lost work": 287}


def test_an_active_trainer_without_a_checkpoint_is_unattributed() -> None:
    active = attempt(started_at=after(minutes=10), trainer_started_at=after(minutes=13))
    assert minutes(active, now=after(hours=1)) == {"starting": 3, "unattributed": 47}


def test_a_record_without_the_trainers_start_counts_it_to_starting() -> None:
    found = minutes(trained(Outcome.PREEMPTED, trainer_started_at=None))
    assert found == {"starting": 10, "training": 250, "lost work": 30}


def test_a_record_without_the_time_of_the_newest_checkpoint_has_no_training() -> None:
    assert minutes(trained(Outcome.PREEMPTED, saved_at=None)) == {"starting": 3, "restoring": 7, "unattributed": 280}


def test_the_newest_manifest_fills_in_for_the_record() -> None:
    newest = seen(4, at=after(minutes=270), attempt="a1")
    assert minutes(trained(Outcome.PREEMPTED, saved_at=None), seen=newest)["lost work"] == 30


def test_clocks_that_disagree_make_no_phase_negative() -> None:
    found = minutes(trained(Outcome.PREEMPTED, trainer_started_at=after(minutes=5), saved_at=after(hours=7)))
    assert found == {"restoring": 10, "training": 280}


def test_in_a_job_with_restarts_only_the_time_of_its_steps_is_training() -> None:
    """200 steps at the measured 60 an hour; the rest is unattributed."""
    newest = seen(4, at=after(minutes=270), attempt="a1")
    found = minutes(trained(Outcome.PREEMPTED, starts=3, last_step=200), seen=newest)
    assert found == {"starting": 3, "restoring": 7, "training": 200, "unattributed": 50, "lost work": 30}


STANDBY: dict[str, Any] = {
    "replaces": "a1",
    "started_at": after(hours=4),
    "trainer_started_at": after(minutes=245),
}
"""The values of a standby whose trainer is ready five minutes after its machine."""


def test_a_standby_is_on_standby_until_the_other_attempt_has_ended() -> None:
    holder = trained(Outcome.HANDED_OVER)
    standby = ended(
        Outcome.SUCCEEDED,
        at=after(hours=9),
        **STANDBY,
        advanced_at=after(minutes=302),
    )
    assert minutes(holder, standby) == {"starting": 5, "standby": 55, "restoring": 2, "training": 238}
    assert minutes(holder, standby, of=0) == {"starting": 3, "restoring": 7, "training": 280}


def test_a_holder_trains_no_more_after_its_hand_over_even_if_its_job_runs() -> None:
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


def test_a_standby_that_never_replaced_the_holder_was_on_standby_to_its_end() -> None:
    holder = trained(Outcome.SUCCEEDED)
    standby = ended(
        Outcome.CANCELLED,
        at=after(hours=5),
        **STANDBY,
    )
    assert minutes(holder, standby) == {"starting": 5, "standby": 55}


def test_a_standby_of_a_completed_holder_has_not_trained() -> None:
    holder = trained(Outcome.SUCCEEDED)
    standby = ended(
        Outcome.CANCELLED,
        at=after(minutes=310),
        **STANDBY,
    )
    assert minutes(holder, standby) == {"starting": 5, "standby": 55, "unattributed": 10}
    came_too_late = ended(Outcome.CANCELLED, at=after(minutes=310), replaces="a1", started_at=after(hours=4))
    assert minutes(holder, came_too_late) == {"starting": 70}


def test_a_replaced_holder_trains_no_more_even_if_its_end_is_observed_after_completion() -> None:
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
        **STANDBY,
        advanced_at=after(minutes=310),
    )
    assert minutes(holder, standby) == {"starting": 5, "standby": 55, "restoring": 10, "training": 50}


def test_an_attempt_without_a_machine_has_no_phases() -> None:
    assert minutes(ended(Outcome.NO_CAPACITY, at=after(hours=1))) == {}


def test_every_phase_is_listed_even_without_time() -> None:
    assert set(by_phase(attempt(), (), NOTHING)) == set(Phase)


def test_an_active_standby_is_on_standby_even_before_its_trainer_is_observed() -> None:
    standby = attempt(replaces="a1", started_at=after(hours=4))
    assert minutes(trained(Outcome.SUCCEEDED), standby, now=after(hours=5)) == {"standby": 60}
    advanced = attempt(replaces="a1", started_at=after(hours=4), advanced_at=after(minutes=302))
    found = minutes(trained(Outcome.HANDED_OVER), advanced, now=after(minutes=310))
    assert found == {"standby": 60, "restoring": 2, "training": 8}


def test_handed_over_steps_are_not_trained_again() -> None:
    holder = trained(Outcome.HANDED_OVER, last_step=290)
    standby = attempt(replaces="a1", from_step=290, started_at=after(hours=4), advanced_at=after(minutes=302))
    assert minutes(holder, standby, of=0) == {"starting": 3, "restoring": 7, "training": 280}


def test_a_standby_that_never_trained_takes_no_steps_from_the_other_attempt() -> None:
    holder = trained(Outcome.PREEMPTED, last_step=250)
    standby = ended(Outcome.PREEMPTED, at=after(hours=5), replaces="a1", from_step=100, started_at=after(hours=4))
    assert minutes(holder, standby, of=0)["training"] == 250


def test_a_damaged_checkpoint_makes_the_recomputed_steps_of_every_attempt_lost_work() -> None:
    """120 and 130 steps, of which 150 are recomputed: all of the second attempt and 20 of the first."""
    tried = (
        trained(Outcome.PREEMPTED, from_step=0, last_step=120),
        trained(Outcome.PREEMPTED, from_step=120, last_step=250),
        trained(Outcome.PREEMPTED, from_step=100, last_step=300),
    )
    assert minutes(*tried, of=0)["training"] == pytest.approx(250 * 100 / 120)
    assert "training" not in minutes(*tried, of=1)
    assert minutes(*tried, of=1)["lost work"] == 280
    assert minutes(*tried, of=2)["training"] == 250
