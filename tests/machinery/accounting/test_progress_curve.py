"""Test progress over time, and the least progress that can meet the deadline."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from spot.accounting.progress_curve import Curve, curve, horizon
from spot.core.run import Outcome
from tests.machinery import sample_runs
from tests.machinery.samples import after


def of(sample: sample_runs.SampleRun) -> Curve:
    found = curve(sample.account)
    assert found
    return found


@pytest.mark.parametrize("name", [name for name in sample_runs.SAMPLE_RUNS if name != "untouched"])
def test_what_is_safe_goes_forwards_only_from_nothing_at_the_submit(name: str) -> None:
    sample = sample_runs.SAMPLE_RUNS[name]()
    if (found := curve(sample.account)) is None:
        pytest.fail("no curve")
    assert found.points[0] == (sample.run.submitted_at, 0.0)
    for (early, low), (late, high) in pairwise(found.points):
        assert early <= late
        assert low <= high <= 1


def test_a_model_is_the_whole_of_the_work_and_a_failure_what_was_saved() -> None:
    assert of(sample_runs.preempted()).points[-1] == (sample_runs.preempted().account.end, 1.0)
    assert of(sample_runs.failed()).points[-1][1] == pytest.approx(110 / 600)


def test_progress_stands_where_no_machine_is() -> None:
    found = of(sample_runs.handed_over())
    assert found.done(after(hours=3)) == found.done(after(hours=11)) == pytest.approx(0.2)
    assert found.done(after(hours=1)) == pytest.approx(0.2 * (60 - 18) / (138 - 7.2 - 7), abs=0.001)


def test_the_work_due_ends_with_all_of_it_at_the_deadline_and_begins_so_much_earlier() -> None:
    found = of(sample_runs.calm())
    assert found.due(found.deadline) == 1
    assert found.due(found.deadline - found.work) == found.due(after()) == 0
    assert found.due(found.deadline - found.work / 4) == pytest.approx(0.75)


def test_a_late_run_fell_below_the_required_progress() -> None:
    late, calm = of(sample_runs.late()), of(sample_runs.calm())
    behind = [hour for hour in range(1, 24) if late.done(after(hours=hour)) < late.due(after(hours=hour))]
    assert behind
    assert min(behind) > 13
    assert all(calm.done(after(hours=hour)) >= calm.due(after(hours=hour)) for hour in range(24))


def test_without_a_count_of_steps_there_is_no_curve() -> None:
    sample = sample_runs.open_run()
    assert curve(replace(sample, seen=None).account) is None


def test_a_picture_goes_to_the_deadline_unless_what_happened_were_a_speck_in_it() -> None:
    calm = sample_runs.calm()
    assert horizon(calm.account) == calm.run.spec.deadline
    spec = replace(calm.run.spec, deadline=after(hours=24 * 30))
    assert horizon(replace(calm, run=replace(calm.run, spec=spec)).account) == calm.account.end
    assert horizon(sample_runs.late().account) == sample_runs.late().account.end
    assert horizon(sample_runs.open_run().account) == sample_runs.open_run().run.spec.deadline


def test_a_run_that_ended_at_once_still_has_a_width() -> None:
    untouched = sample_runs.untouched()
    at_once = replace(untouched, run=replace(untouched.run, ended_at=untouched.run.submitted_at))
    assert horizon(at_once.account) - at_once.run.submitted_at == timedelta(minutes=1)


def test_a_holder_whose_end_was_seen_only_after_the_model_has_made_what_its_standby_went_on_from() -> None:
    sample = sample_runs.handed_over()
    holder = replace(sample.run.attempts[9], outcome=Outcome.SUCCEEDED, last_step=sample_runs.STEPS)
    assert of(replace(sample, run=sample.run.with_attempt(holder))) == of(sample)


def test_what_a_holder_made_is_safe_when_its_standby_takes_over_not_at_the_save_before() -> None:
    found = of(sample_runs.handed_over())
    at = {share: moment for moment, share in reversed(found.points)}
    assert at[340 / 600] == sample_runs.handed_over().run.attempts[9].ended_at
