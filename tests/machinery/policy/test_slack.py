"""Test the numbers of decisions against values by hand: 10 hours of work, 24 hours of time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from spot.core.run import Attempt, Outcome, Provisioning
from spot.policy.slack import Slack
from tests.machinery.samples import T0, after, attempt, ended, run, seen

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def started(minutes: float, provisioning: Provisioning = Provisioning.SPOT) -> Attempt:
    """One whose first checkpoint came so long after its submit."""
    return ended(Outcome.PREEMPTED, provisioning=provisioning, advanced_at=after(minutes=minutes))


def at_submit() -> Slack:
    return Slack.of(run(), seen(), T0)


def test_at_submit_all_of_the_stated_work_is_left() -> None:
    slack = at_submit()
    assert (slack.work, slack.total_work) == (10 * HOUR, 10 * HOUR)
    assert (slack.time_left, slack.left, str(slack)) == (24 * HOUR, 14 * HOUR, "slack 14.0 h")
    assert slack.last_progress_at is None


def test_the_hard_margin_is_a_worst_start_a_pass_and_the_end_of_what_ran() -> None:
    assert at_submit().hard_margin == (25 + 15 + 3) * MINUTE


def test_the_margin_is_the_hard_one_and_what_may_not_be_saved() -> None:
    assert at_submit().margin == (25 + 15 + 3 + 10) * MINUTE


def test_the_interval_and_the_save_of_the_newest_checkpoint_replace_the_stated_worst_loss() -> None:
    learnt = seen(5, checkpoint_interval=4 * MINUTE, save=MINUTE)
    assert Slack.of(run(), learnt, T0).margin == (25 + 15 + 3 + 4 + 1) * MINUTE
    assert Slack.of(run(), seen(5, save=MINUTE), T0).margin == (25 + 15 + 3 + 10) * MINUTE


def test_a_longer_interval_than_the_stated_one_counts_too() -> None:
    longer = seen(5, checkpoint_interval=30 * MINUTE, longest_evaluation=7 * MINUTE)
    assert Slack.of(run(), longer, T0).margin == (25 + 15 + 3 + 30 + 7) * MINUTE


def test_the_reserve_is_smaller_where_preempted_trainers_save_and_the_margin_is_not() -> None:
    saved, lost = (Slack.of(run(saved_share=share), seen(), T0) for share in (1.0, 0.0))
    assert saved.margin == lost.margin
    assert lost.on_demand_margin - saved.on_demand_margin == 0.4 * 0.03 * 10 * HOUR


def test_the_safety_line_is_where_the_slack_is_down_to_the_margin() -> None:
    line = at_submit().latest_on_demand_start
    assert line == after(hours=24 - 10, minutes=-53)
    there = Slack.of(run(), seen(), line)
    assert there.left == there.margin


def test_the_late_start_leaves_a_standby_time_to_replace_on_demand() -> None:
    assert at_submit().on_demand_start == at_submit().latest_on_demand_start - timedelta(minutes=78)


@pytest.mark.parametrize(
    ("done", "kept"),
    [(5, 69), (8.5, 45), (9.5, 0)],
    ids=[
        "as stated, and three percent of the work",
        "half of the work left",
        "less than the start that on-demand needs before",
    ],
)
def test_with_little_work_left_less_is_kept_in_reserve(done: float, kept: int) -> None:
    slack = Slack.of(run(), seen(done, at=after(hours=10)), after(hours=10))
    assert slack.on_demand_margin - slack.margin == timedelta(minutes=kept)


@pytest.mark.parametrize(
    "changes", [{"hand_over": False}, {"budget_usd": 100.0}], ids=["by choice", "two would share one budget"]
)
def test_no_time_is_reserved_where_on_demand_continues_to_the_end(changes: dict[str, Any]) -> None:
    slack = Slack.of(run(**changes), seen(), T0)
    assert slack.on_demand_start == slack.latest_on_demand_start


def test_steps_done_leave_less_work() -> None:
    slack = Slack.of(run(), seen(4, at=after(hours=5)), after(hours=6))
    assert (slack.work, slack.total_work, slack.left) == (6 * HOUR, 10 * HOUR, 12 * HOUR)
    assert slack.last_progress_at == after(hours=5)


def test_both_models_are_evaluated_after_the_last_step_unless_a_run_measured_a_longer_tail() -> None:
    last = seen(10, longest_evaluation=5 * MINUTE, save=MINUTE)
    assert Slack.of(run(), last, T0).work == 12 * MINUTE
    for tail in (11 * MINUTE, 13 * MINUTE):
        assert Slack.of(run(tail=tail, work_is_measured=True), last, T0).work == max(tail, 12 * MINUTE)


def test_the_measured_rate_of_the_whole_run_replaces_the_stated_work() -> None:
    """600 steps, of which 240 took 9 h and 50 min; the stated rate counts as 10 min with 10 steps."""
    slack = Slack.of(run(), seen(4, trained=timedelta(hours=10) - 10 * MINUTE, steps_per_hour=0), T0)
    assert slack.total_work / HOUR == pytest.approx(600 / 25)
    assert slack.work / HOUR == pytest.approx(360 / 25)


def test_the_first_minutes_of_training_say_little() -> None:
    slack = Slack.of(run(), seen(0, step=1, trained=2 * MINUTE, steps_per_hour=30), T0)
    assert slack.total_work / HOUR == pytest.approx(600 / ((1 + 10) / 0.2))


@pytest.mark.parametrize(
    ("ran", "per_hour"),
    [
        pytest.param(timedelta(), 60, id="just-started"),
        pytest.param(15 * MINUTE, 52.5, id="a-quarter-of-an-hour"),
        pytest.param(HOUR, 30, id="an-hour"),
        pytest.param(5 * HOUR, 30, id="longer"),
    ],
)
def test_a_slower_newest_start_counts_in_full_after_an_hour(ran: timedelta, per_hour: float) -> None:
    attempts = run(attempt(started_at=after(hours=1)))
    slack = Slack.of(attempts, seen(4, at=after(hours=1) + ran, steps_per_hour=30), after(hours=8))
    assert slack.total_work / HOUR == pytest.approx(600 / per_hour)


def test_a_faster_newest_start_is_not_counted_on() -> None:
    attempts = run(attempt(started_at=after(hours=1)))
    assert Slack.of(attempts, seen(4, at=after(hours=5), steps_per_hour=90), after(hours=8)).total_work == 10 * HOUR


def test_more_steps_than_there_were_to_do_leave_none() -> None:
    assert Slack.of(run(), seen(10, step=601), T0).work == timedelta()


def test_a_complete_model_leaves_no_work() -> None:
    assert Slack.of(run(), seen(4, completed_at=after(hours=5)), after(hours=6)).work == timedelta()


def test_the_expected_start_moves_by_three_tenths_towards_each_start_seen() -> None:
    assert Slack.of(run(started(34)), seen(), T0).expected_start == 27 * MINUTE
    assert Slack.of(run(started(34), started(17)), seen(), T0).expected_start == 24 * MINUTE


def test_an_attempt_that_got_nowhere_tells_nothing_of_starts() -> None:
    assert Slack.of(run(ended(Outcome.NO_CAPACITY)), seen(), T0).expected_start == 24 * MINUTE


def test_a_slow_start_of_on_demand_raises_the_worst_case_by_a_quarter_more() -> None:
    assert Slack.of(run(started(40, Provisioning.ON_DEMAND)), seen(), T0).worst_start == 50 * MINUTE


@pytest.mark.parametrize("attempt", [started(25, Provisioning.ON_DEMAND), started(40)])
def test_neither_a_quick_start_nor_one_of_spot_changes_the_worst_case(attempt: Attempt) -> None:
    assert Slack.of(run(attempt), seen(), T0).worst_start == 25 * MINUTE


def test_work_for_which_one_job_is_too_short_leaves_room_for_another_start() -> None:
    """25 min of start, 15 of a tick, 3 to settle; and for the second job these, and 10 min that the first lost."""
    long = run(work=timedelta(days=8), deadline=after(hours=24 * 20))
    assert Slack.of(long, seen(), T0).hard_margin == timedelta(minutes=43 + 53)


@pytest.mark.parametrize(("work", "jobs"), [(167.4, 1), (167.5, 2), (334.8, 2), (334.9, 3)])
def test_a_job_has_its_start_and_what_it_lost_within_its_seven_days(work: float, jobs: int) -> None:
    """25 min and 10 of its 168 h. Each further job comes after a tick of 15 min and 3 min to settle."""
    slack = Slack.of(run(work=work * HOUR, deadline=after(hours=500)), seen(), T0)
    assert slack.on_demand_overhead == 25 * MINUTE + (jobs - 1) * 53 * MINUTE


def test_a_trainer_that_counts_on_for_ever_has_a_date_all_the_same() -> None:
    """A step an hour, of as many as there can be."""
    attempts = run(attempt(started_at=T0))
    found = seen(0, step=3, total_steps=2**62, at=after(hours=3), trained=3 * HOUR, steps_per_hour=1)
    slack = Slack.of(attempts, found, after(hours=3))
    assert slack.on_demand_start < slack.latest_on_demand_start < T0


def test_the_time_on_standby_does_not_count_for_the_rate() -> None:
    stood_by = attempt(started_at=after(hours=1), advanced_at=after(hours=2))
    begun = Slack.of(run(stood_by), seen(4, at=after(hours=2), steps_per_hour=30), after(hours=8))
    assert begun.total_work / HOUR == pytest.approx(10)
