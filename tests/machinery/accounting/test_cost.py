"""Test that the account of a run adds up, and calls a loss a loss."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.accounting.cost import Account, Verdict, account
from spot.accounting.phases import Phase
from spot.core.job import JobState
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run, RunState
from tests.machinery import sample_runs, samples
from tests.machinery.samples import after, ended, run, seen

HOUR = timedelta(hours=1)


def of(run: Run, seen: Observation | None = None, *, now: datetime | None = None) -> Account:
    return account(run, seen, now or after(hours=48))


def test_each_attempt_costs_what_was_billed_at_the_price_pinned_for_its_region() -> None:
    found = sample_runs.handed_over().account
    costs = [round(entry.usd or 0, 2) for entry in found.attempts if entry.billed]
    assert costs == [1.15, 4.0, 3.18]  # 2.3 h x 0.50, 4 h x 1.00, 5.3 h x 0.60
    assert found.usd == pytest.approx(sum(costs))
    assert found.usd == pytest.approx(found.run.usd_spent(found.end))


def test_a_price_that_is_missing_is_not_guessed_and_matters_only_where_something_was_billed() -> None:
    sample = sample_runs.handed_over()
    spec = replace(sample.run.spec, policy=samples.policy(usd_per_hour={"us-central1": {Provisioning.SPOT: 0.5}}))
    found = of(replace(sample.run, spec=spec), sample.seen)
    assert (found.usd, found.on_demand, found.usd_saved, found.share_saved, found.is_loss) == (
        None,
        None,
        None,
        None,
        False,
    )
    assert found.attempts[1].usd == 0
    assert found.attempts[0].usd == pytest.approx(1.15)


def test_on_demand_is_the_same_training_and_one_start_in_its_cheapest_region() -> None:
    """Twelve attempts had 9 minutes for three containers, of which the standby's start is no measure."""
    on_demand = sample_runs.handed_over().account.on_demand
    assert on_demand
    assert (on_demand.region, on_demand.usd_per_hour) == ("us-central1", 1.0)
    phases = sample_runs.handed_over().account.phases
    start, end = timedelta(minutes=7), timedelta(minutes=2)
    assert on_demand.billed == phases[Phase.TRAINING] + phases[Phase.SAVING] + start + end
    assert on_demand.usd == pytest.approx(on_demand.billed / HOUR)


def test_a_run_on_demand_from_its_beginning_costs_what_on_demand_does() -> None:
    """Of an hour, five minutes of which the job went on after the model was there."""
    whole = ended(
        Outcome.SUCCEEDED,
        at=after(hours=1),
        provisioning=Provisioning.ON_DEMAND,
        started_at=after(),
        trainer_started_at=after(minutes=3),
        advanced_at=after(minutes=5),
    )
    found = of(run(whole, state=RunState.SUCCEEDED), seen(10, completed_at=after(minutes=55)))
    assert found.on_demand
    assert found.usd == found.on_demand.usd == 1
    assert not found.is_loss


def test_a_standby_that_stood_by_when_the_model_was_there_has_trained_nothing_and_did_not_finish_it() -> None:
    sample = sample_runs.late()
    *_, holder = sample.run.attempts
    began = after(hours=25.2)
    standby = replace(
        holder,
        id="a40",
        outcome=Outcome.CANCELLED,
        provisioning=Provisioning.SPOT,
        replaces=holder.id,
        started_at=began,
        trainer_started_at=began + timedelta(minutes=3),
        advanced_at=None,
        saved_at=None,
        saving=timedelta(),
        ended_at=after(hours=26.5),
    )
    both = replace(sample.run, attempts=(*sample.run.attempts, standby))
    alone, beside = sample.account, of(both, sample.seen)
    assert beside.on_demand == alone.on_demand
    assert beside.phases[Phase.TRAINING] == alone.phases[Phase.TRAINING]
    assert (beside.usd or 0) - (alone.usd or 0) == pytest.approx(1.3 * 0.5)
    assert of(both, None).end == holder.ended_at


def test_steps_that_were_lost_are_no_work_of_on_demand() -> None:
    calm, harried = sample_runs.calm().account.on_demand, sample_runs.loss().account.on_demand
    assert calm
    assert harried
    assert harried.billed < calm.billed  # though it was billed for 17.8 h instead of 10.4 h


@pytest.mark.parametrize(
    ("sample", "share", "is_loss"),
    [
        (sample_runs.calm, 0.50, False),
        (sample_runs.handed_over, 0.21, False),
        (sample_runs.loss, -0.60, True),
        (sample_runs.late, 0.0, False),  # on demand from the beginning
        (sample_runs.open_run, 0.42, False),
    ],
)
def test_a_run_that_costs_more_than_on_demand_is_a_loss(
    sample: sample_runs.MakeSample, share: float, is_loss: bool
) -> None:
    found = sample().account
    assert found.share_saved == pytest.approx(share, abs=0.005)
    assert found.is_loss is is_loss


def test_money_for_no_step_at_all_is_a_loss() -> None:
    found = of(run(ended(Outcome.TRAINING_FAILED, at=after(hours=1), started_at=after()), state=RunState.FAILED))
    assert found.usd == 0.5
    assert found.share_saved is None
    assert found.is_loss


def test_starts_without_a_step_that_counts_are_nothing_to_compare_with() -> None:
    first = after(minutes=10)
    lost = ended(
        Outcome.PREEMPTED, at=after(hours=1), started_at=after(), advanced_at=first, saved_at=first, last_step=1
    )
    found = of(run(lost), seen(1 / 60, at=first), now=after(hours=2))
    assert found.on_demand
    assert (found.on_demand.usd, found.share_saved, found.is_loss) == (0, None, False)


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
def test_without_a_model_nothing_is_saved_and_all_it_cost_is_lost(state: RunState) -> None:
    sample = sample_runs.failed()
    found = of(replace(sample.run, state=state), sample.seen)
    assert found.phases[Phase.TRAINING] > HOUR, "there were steps, and they came to nothing"
    assert found.on_demand
    assert found.on_demand.usd == 0
    assert found.usd_saved == -(found.usd or 0) < -1
    assert found.share_saved is None
    assert found.is_loss


def test_an_open_run_that_has_just_started_is_no_loss() -> None:
    found = of(run(samples.attempt(started_at=after())), now=after(minutes=6))
    assert found.usd == pytest.approx(0.05)
    assert found.share_saved is None
    assert not found.is_loss


def test_steps_that_were_trained_twice_count_once_for_on_demand() -> None:
    """The newest checkpoint, of 300 steps, could not be read: the second attempt went on from 60."""
    tried = sample_runs.preempted().run.attempts
    damaged = replace(tried[0], from_step=0, last_step=300)
    again = replace(tried[1], from_step=60, last_step=600)
    whole = of(run(damaged, again, state=RunState.SUCCEEDED, ended_at=after(hours=9)))
    sound = of(run(damaged, replace(again, from_step=300), state=RunState.SUCCEEDED, ended_at=after(hours=9)))
    first, as_it_was = whole.attempts[0].phases, sound.attempts[0].phases
    useful = as_it_was[Phase.TRAINING] + as_it_was[Phase.SAVING]
    assert first[Phase.TRAINING] + first[Phase.SAVING] == useful / 5
    assert first[Phase.LOST_WORK] == as_it_was[Phase.LOST_WORK] + useful * 0.8
    assert whole.on_demand
    assert sound.on_demand
    assert sound.on_demand.billed - whole.on_demand.billed == useful * 0.8


def test_a_run_that_nothing_was_tried_for_costs_nothing_and_is_no_loss() -> None:
    found = sample_runs.untouched().account
    assert (found.usd, found.is_loss, found.goodput) == (0, False, None)


@pytest.mark.parametrize(
    ("sample", "verdict", "spare"),
    [
        (sample_runs.calm, Verdict.MET, 13.4),
        (sample_runs.late, Verdict.MISSED, -1.9),
        (sample_runs.open_run, Verdict.DUE, 19.0),
        (sample_runs.failed, Verdict.NO_MODEL, None),
        (sample_runs.untouched, Verdict.NO_MODEL, None),
    ],
)
def test_a_deadline_is_met_by_the_model_not_by_the_end_of_the_run(
    sample: sample_runs.MakeSample, verdict: Verdict, spare: float | None
) -> None:
    found = sample().account
    assert found.verdict is verdict
    assert (found.to_spare / HOUR if found.to_spare is not None else None) == pytest.approx(spare)


def test_an_open_run_past_its_deadline_has_missed_it() -> None:
    found = of(run(), now=after(hours=25))
    assert (found.verdict, found.to_spare) == (Verdict.MISSED, -HOUR)


def test_a_model_that_is_there_in_time_has_met_the_deadline_though_its_job_has_not_ended() -> None:
    active = samples.attempt(started_at=after(hours=12), advanced_at=after(hours=13), state=JobState.RUNNING)
    found = of(run(active), seen(10, completed_at=after(hours=23.9)), now=after(hours=24.1))
    assert (found.verdict, found.end) == (Verdict.MET, after(hours=23.9))
    assert found.phases[Phase.UNATTRIBUTED] / HOUR == pytest.approx(0.2)
    late = of(run(active), seen(10, completed_at=after(hours=24.05)), now=after(hours=24.1))
    assert late.verdict is Verdict.MISSED


def test_without_the_bucket_the_job_that_succeeded_says_when_the_model_was_there() -> None:
    sample = sample_runs.calm()
    job_ended_at = sample.run.attempts[0].ended_at
    assert of(sample.run, None).end == job_ended_at
    assert of(replace(sample.run, attempts=()), None).end == sample.run.ended_at


def test_goodput_is_training_by_what_was_billed() -> None:
    found = of(
        run(
            ended(
                Outcome.SUCCEEDED,
                at=after(hours=6),
                started_at=after(hours=2),
                trainer_started_at=after(hours=2.5),
                advanced_at=after(hours=3),
            ),
            state=RunState.SUCCEEDED,
        )
    )
    assert found.goodput == 0.75
    assert (found.wall, found.without_machine) == (6 * HOUR, 2 * HOUR)


def test_two_machines_at_once_cover_the_wall_clock_once_and_are_billed_twice() -> None:
    found = sample_runs.handed_over().account
    assert found.billed > found.wall - found.without_machine


MINUTES = st.integers(0, 600).map(lambda minutes: after(minutes=minutes))
PLACES = st.sampled_from(["us-central1", "us-east4"])


@st.composite
def attempts(draw: st.DrawFn) -> Attempt:
    """Times in any order, or missing: whatever clocks and records may say."""
    outcome = draw(st.none() | st.sampled_from(Outcome))
    return samples.attempt(
        provisioning=draw(st.sampled_from(Provisioning)),
        region=draw(PLACES),
        replaces=draw(st.none() | st.sampled_from(["a1", "a2", "a9"])),
        intended_at=draw(MINUTES),
        state=JobState.FAILED,
        outcome=outcome,
        started_at=draw(st.none() | MINUTES),
        trainer_started_at=draw(st.none() | MINUTES),
        advanced_at=draw(st.none() | MINUTES),
        saved_at=draw(st.none() | MINUTES),
        saving=timedelta(minutes=draw(st.integers(0, 90))),
        ended_at=draw(MINUTES if outcome else st.none() | MINUTES),
        starts=draw(st.integers(0, 3)),
        last_step=draw(st.none() | st.integers(0, 600)),
    )


RUNS = st.builds(
    lambda tried, state, end: run(*tried, state=state, ended_at=end),
    st.lists(attempts(), max_size=4),
    st.sampled_from(RunState),
    st.none() | MINUTES,
)


SEEN = st.builds(
    lambda done, at, completed_at: seen(done, at=at, completed_at=completed_at),
    st.floats(0, 10),
    MINUTES,
    st.none() | MINUTES,
)


@given(RUNS, st.none() | SEEN, MINUTES)
def test_no_hour_and_no_dollar_is_counted_twice_or_lost_for_any_record(
    random: Run, shown: Observation | None, now: datetime
) -> None:
    found = account(random, shown, now)
    for entry in found.attempts:
        billed = timedelta(hours=entry.attempt.billed_hours(now))
        assert abs(entry.billed - billed) < timedelta(milliseconds=1)
        assert sum(entry.phases.values(), timedelta()) == entry.billed
        assert min(entry.phases.values()) >= timedelta()
        assert [span.end for span in entry.spans[:-1]] == [span.start for span in entry.spans[1:]]
    assert sum(found.phases.values(), timedelta()) == found.billed
    assert timedelta() <= found.without_machine <= found.wall
    assert found.usd == pytest.approx(random.usd_spent(now))
