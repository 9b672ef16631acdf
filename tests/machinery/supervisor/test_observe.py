"""What is known of a run after a look at Vertex AI and the bucket, and the two things that a look may do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from spot.core.errors import TemporarilyUnavailable
from spot.core.job import JobError, JobSnapshot, JobState
from spot.core.run import Attempt, Cancel, CancelReason, Observation, Outcome, Provisioning, Run
from spot.google.vertex import CREATE_S, JobNotFound
from spot.storage.records.markers import AttemptStarts
from spot.supervisor.observe import GIVE_UP_AFTER, GIVE_UP_UNHEARD_AFTER, NOT_FOUND, STRAYS_FOR, observe
from spot.supervisor.reconcile import CREATE_WITHIN, is_settling
from tests.machinery import samples

NAME = str(samples.ATTEMPT.job)
SIGHTING = JobSnapshot(
    name=NAME, state=JobState.PENDING, created_at=samples.T0, started_at=None, ended_at=None, error=None
)
NOTHING, UNMARKED = Observation(), AttemptStarts(count=0, exit_code=None)
CANCEL = Cancel(at=samples.after(minutes=1), why=CancelReason.NO_CAPACITY)
LOST = samples.attempt(job=None, state=JobState.UNSPECIFIED)
GIVEN_UP = replace(
    LOST, outcome=Outcome.UNKNOWN, ended_at=samples.after(minutes=5), error=JobError(code=NOT_FOUND, message="lost")
)


@dataclass
class Seen:
    """What a look sees, as `Jobs` and as `TrainingStatus`; it notes what is cancelled."""

    sighting: JobSnapshot | None = SIGHTING
    error: Exception | None = None
    observation: Observation = NOTHING
    marked: AttemptStarts = UNMARKED
    answers: bool = True
    """Whether it can be looked for by labels."""
    extras: tuple[JobSnapshot, ...] = ()
    """Newer jobs with the labels of the attempt."""
    cancelled: list[str] = field(default_factory=list)
    looked_for: list[str] = field(default_factory=list)

    def create(self, run: Run, attempt: Attempt) -> JobSnapshot:  # noqa: ARG002  # Jobs
        raise AssertionError("a look creates nothing")

    def get(self, run: Run, attempt: Attempt) -> JobSnapshot:  # noqa: ARG002  # Jobs
        assert attempt.job == NAME
        if self.error:
            raise self.error
        assert self.sighting
        return self.sighting

    def find(self, run: Run, attempt: Attempt) -> list[JobSnapshot]:  # noqa: ARG002  # Jobs
        self.looked_for.append(attempt.id)
        if not self.answers:
            raise TemporarilyUnavailable("no answer")
        return [self.sighting, *self.extras] if self.sighting else []

    def cancel(self, name: str) -> None:
        self.cancelled.append(name)

    def observe(self, run: Run) -> Observation:  # noqa: ARG002  # TrainingStatus
        return self.observation

    def starts(self, run: Run, attempt: Attempt) -> AttemptStarts:  # noqa: ARG002  # TrainingStatus
        return self.marked


def look(run: Run, world: Seen, *, minutes: float = 10) -> Run:
    return observe(run, world, world, samples.after(minutes=minutes))[0]


def last(run: Run) -> Attempt:
    return run.attempts[-1]


def sighting(state: JobState, **changes: object) -> JobSnapshot:
    return replace(SIGHTING, state=state, **changes)  # type: ignore[arg-type]


def test_nobody_may_still_send_a_create_that_is_given_up() -> None:
    assert CREATE_WITHIN + timedelta(seconds=CREATE_S) < GIVE_UP_AFTER < STRAYS_FOR


def test_a_run_without_a_live_attempt_is_only_read() -> None:
    run = samples.run(samples.ended(Outcome.PREEMPTED))
    assert look(run, Seen(sighting=None)) == run


def test_a_job_that_runs_is_recorded_as_it_is_shown() -> None:
    started = samples.after(minutes=6)
    found = last(look(samples.run(samples.attempt()), Seen(sighting(JobState.RUNNING, started_at=started))))
    assert (found.state, found.started_at, found.ended_at, found.outcome) == (JobState.RUNNING, started, None, None)


def test_the_first_start_is_kept_whatever_is_shown_later() -> None:
    run = samples.run(samples.attempt(started_at=samples.after(minutes=3)))
    found = last(look(run, Seen(sighting(JobState.RUNNING, started_at=samples.after(minutes=6)))))
    assert found.started_at == samples.after(minutes=3)


def test_only_its_own_checkpoint_shows_that_an_attempt_advanced() -> None:
    run = samples.run(samples.ended(Outcome.PREEMPTED), samples.attempt())
    theirs, ours = samples.seen(1, attempt="a1"), samples.seen(2, attempt="a2", at=samples.after(minutes=9))
    assert last(look(run, Seen(observation=theirs))).advanced_at is None
    advanced = look(run, Seen(observation=ours))
    assert last(advanced).advanced_at == samples.T0
    later = samples.seen(3, attempt="a2", at=samples.after(minutes=20))
    assert last(look(advanced, Seen(observation=later))).advanced_at == last(advanced).advanced_at


def test_an_ended_job_gets_its_outcome_from_the_evidence() -> None:
    ended = sighting(JobState.FAILED, started_at=samples.T0, ended_at=samples.after(minutes=9))
    world = Seen(ended, observation=samples.seen(2), marked=AttemptStarts(count=3, exit_code=143))
    found = last(look(samples.run(samples.attempt()), world))
    assert (found.outcome, found.starts, found.last_step) == (Outcome.PREEMPTED, 3, 120)
    assert found.ended_at == samples.after(minutes=9)


def test_a_failure_is_not_judged_before_its_error_may_be_there() -> None:
    run = samples.run(samples.attempt())
    ended = sighting(JobState.FAILED, ended_at=samples.after(minutes=9))
    silent = look(run, Seen(ended))
    assert last(silent).outcome is None
    said = look(silent, Seen(replace(ended, error=samples.stockout())), minutes=11)
    assert last(said).outcome is Outcome.NO_CAPACITY
    assert last(said).error == samples.stockout()


def test_a_job_without_an_end_ended_when_it_was_first_seen_to_have() -> None:
    run = look(samples.run(samples.attempt()), Seen(sighting(JobState.FAILED)), minutes=10)
    assert last(look(run, Seen(sighting(JobState.FAILED)), minutes=12)).ended_at == samples.after(minutes=10)


def test_a_create_that_was_not_answered_is_found_by_its_labels() -> None:
    found = last(look(samples.run(LOST), Seen(), minutes=1))
    assert (found.job, found.state) == (NAME, JobState.PENDING)


def test_a_create_that_is_not_found_is_waited_for_and_then_given_up() -> None:
    run = samples.run(LOST)
    assert look(run, Seen(sighting=None), minutes=5) == run
    given_up = last(look(run, Seen(sighting=None), minutes=5.1))
    assert (given_up.outcome, given_up.never_created) == (Outcome.UNKNOWN, True)
    assert given_up.error
    assert "no job of a1 was found" in given_up.error.message


SILENT_FOR = GIVE_UP_UNHEARD_AFTER / timedelta(minutes=1)


def test_a_create_in_a_region_that_never_answers_is_given_up_so_that_another_can_be_asked() -> None:
    run, silent = samples.run(LOST), Seen(answers=False)
    with pytest.raises(TemporarilyUnavailable):
        look(run, silent, minutes=SILENT_FOR)
    assert last(look(run, silent, minutes=SILENT_FOR + 0.1)).never_created


def test_a_job_that_was_heard_of_is_not_given_up_however_long_its_region_is_silent() -> None:
    silent = Seen(answers=False, error=JobNotFound("no such job"))
    with pytest.raises(TemporarilyUnavailable):
        look(samples.run(samples.attempt()), silent, minutes=SILENT_FOR + 60)


def test_a_budget_does_not_pay_for_a_second_job_while_the_first_may_be_there() -> None:
    with pytest.raises(TemporarilyUnavailable):
        look(samples.run(LOST, budget_usd=50.0), Seen(answers=False), minutes=SILENT_FOR + 60)


def test_a_job_that_two_ways_of_asking_do_not_know_has_an_unknown_end() -> None:
    world = Seen(sighting=None, error=JobNotFound("there is no such job"), observation=samples.seen(2))
    found = last(look(samples.run(samples.attempt()), world))
    assert (found.outcome, found.last_step, found.ended_at) == (Outcome.UNKNOWN, 120, samples.after(minutes=10))
    assert not found.never_created


def test_a_job_that_is_found_by_its_labels_is_not_gone() -> None:
    world = Seen(sighting(JobState.RUNNING), error=JobNotFound("asked at the wrong place"))
    found = last(look(samples.run(samples.attempt()), world))
    assert (found.state, found.outcome) == (JobState.RUNNING, None)


def test_a_job_that_is_not_seen_yet_is_asked_for_again() -> None:
    run = samples.run(samples.attempt())
    assert look(run, Seen(sighting=None, error=JobNotFound("there is no such job")), minutes=4) == run


@pytest.mark.parametrize("looked", [40, 200])
def test_how_long_a_start_took_does_not_depend_on_when_it_was_looked_at(looked: float) -> None:
    """At 60 steps an hour from step 60, a checkpoint at step 90 came half an hour after the first step."""
    run = samples.run(samples.attempt(from_step=60, started_at=samples.after(minutes=1)))
    world = Seen(sighting(JobState.RUNNING), observation=samples.seen(1.5, at=samples.after(minutes=40)))
    assert last(look(run, world, minutes=looked)).advanced_at == samples.after(minutes=10)


def test_a_start_is_not_before_its_machine_ran() -> None:
    run = samples.run(samples.attempt(started_at=samples.after(minutes=39)))
    world = Seen(sighting(JobState.RUNNING), observation=samples.seen(1.5, at=samples.after(minutes=40)))
    assert last(look(run, world, minutes=50)).advanced_at == samples.after(minutes=39)


def test_the_model_is_looked_for_after_the_job_that_makes_it() -> None:
    """A job that ends between the two reads has completed its model by then."""
    order: list[str] = []

    class Noted(Seen):
        def get(self, run: Run, attempt: Attempt) -> JobSnapshot:
            order.append("job")
            return super().get(run, attempt)

        def observe(self, run: Run) -> Observation:
            order.append("bucket")
            return super().observe(run)

    look(samples.run(samples.attempt()), Noted(sighting(JobState.RUNNING)))
    assert order == ["job", "bucket"]


def test_what_could_not_be_read_ends_the_look() -> None:
    with pytest.raises(TemporarilyUnavailable):
        look(samples.run(samples.attempt()), Seen(error=TemporarilyUnavailable("no answer")))


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.PENDING, JobState.RUNNING, JobState.UNSPECIFIED])
def test_a_cancel_that_was_recorded_is_asked_for_until_it_shows(state: JobState) -> None:
    world = Seen(sighting(state))
    look(samples.run(samples.attempt(cancel=CANCEL)), world)
    assert world.cancelled == [NAME]


@pytest.mark.parametrize("state", [JobState.CANCELLING, JobState.CANCELLED, JobState.SUCCEEDED])
def test_a_cancel_that_shows_is_not_asked_for_again(state: JobState) -> None:
    world = Seen(sighting(state))
    look(samples.run(samples.attempt(cancel=CANCEL)), world)
    assert world.cancelled == []


def test_a_cancel_of_a_create_that_was_lost_reaches_the_job_that_is_found() -> None:
    world = Seen()
    look(samples.run(replace(LOST, cancel=CANCEL)), world)
    assert world.cancelled == [NAME]


@pytest.mark.parametrize("active", [(), (samples.attempt(),)])
def test_a_create_that_took_effect_after_it_was_given_up_is_cancelled(active: tuple[Attempt, ...]) -> None:
    world = Seen()
    look(samples.run(GIVEN_UP, *active), world, minutes=59)
    assert world.cancelled == [NAME]


@pytest.mark.parametrize("state", [JobState.CANCELLING, JobState.CANCELLED])
def test_a_stray_that_ends_is_left_alone(state: JobState) -> None:
    world = Seen(sighting(state))
    look(samples.run(GIVEN_UP), world)
    assert world.cancelled == []


def test_a_job_that_had_vanished_and_is_there_again_is_a_stray() -> None:
    world = Seen()
    look(samples.run(replace(GIVEN_UP, job=NAME)), world, minutes=59)
    assert world.cancelled == [NAME]


def test_a_region_that_does_not_answer_does_not_keep_a_run_from_its_own() -> None:
    class Elsewhere(Seen):
        def find(self, run: Run, attempt: Attempt) -> list[JobSnapshot]:  # noqa: ARG002
            raise TemporarilyUnavailable("no answer")

    started = sighting(JobState.RUNNING)
    assert last(look(samples.run(GIVEN_UP, samples.attempt()), Elsewhere(started))).state is JobState.RUNNING


def test_of_two_jobs_of_one_create_the_older_is_kept_and_the_newer_is_cancelled() -> None:
    name = NAME.replace("customJobs/1", "customJobs/2")
    world = Seen(extras=(replace(SIGHTING, name=name),))
    assert last(look(samples.run(LOST), world, minutes=1)).job == NAME
    assert world.cancelled == [name]


def test_no_time_of_another_clock_is_later_than_the_look() -> None:
    """A job that ended in the future would be waited for in every turn of the reconcile."""
    ahead = samples.after(hours=5)
    world = Seen(
        sighting(JobState.FAILED, started_at=ahead, ended_at=ahead),
        observation=samples.seen(1, at=ahead, completed_at=ahead),
    )
    found, seen = observe(samples.run(samples.attempt()), world, world, samples.after(minutes=10))
    now = samples.after(minutes=10)
    times = (last(found).started_at, last(found).ended_at, last(found).advanced_at, last(found).saved_at)
    assert (*times, seen.completed_at) == (now,) * 5
    assert is_settling(last(found), now)
    assert not is_settling(replace(last(found), ended_at=ahead), now)


def test_strays_are_not_looked_for_for_ever() -> None:
    world = Seen()
    look(samples.run(GIVEN_UP), world, minutes=65)
    assert world.looked_for == []


HOLDER = samples.attempt(
    id="a1",
    provisioning=Provisioning.ON_DEMAND,
    state=JobState.RUNNING,
    started_at=samples.after(minutes=5),
    advanced_at=samples.after(minutes=8),
)
TWIN = samples.attempt(id="a2", replaces="a1", job=None, intended_at=samples.after(minutes=8))
LEFT = replace(SIGHTING, state=JobState.FAILED, started_at=samples.after(minutes=5), ended_at=samples.after(minutes=9))


def handed_over(writer: str | None, *, exit_code: int | None = 75, step: int = 100) -> Attempt:
    """What becomes of a holder whose job has failed, with its twin at `step`, having gone on from 60."""
    progress = samples.progress(0, attempt="a2", step=step, from_step=60)
    world = Seen(
        sighting=LEFT,
        observation=Observation(progress=progress, writer=writer),
        marked=AttemptStarts(count=1, exit_code=exit_code, started_at=samples.after(minutes=6)),
    )
    return look(replace(samples.run(), attempts=(HOLDER, TWIN)), world).attempts[0]


def test_a_holder_that_left_because_its_twin_has_the_lease_has_handed_over_where_the_twin_went_on() -> None:
    left = handed_over("a2")
    assert (left.outcome, left.last_step) == (Outcome.HANDED_OVER, 60)


def test_a_holder_whose_trainer_was_killed_has_not_handed_over() -> None:
    assert handed_over("a2", exit_code=None).outcome is not Outcome.HANDED_OVER


def test_one_that_came_again_without_a_twin_has_not_either() -> None:
    assert handed_over("a1").outcome is Outcome.INTERNAL


@pytest.mark.parametrize(("writer", "outcome"), [("a1", Outcome.CANCELLED), ("a2", Outcome.SUCCEEDED)])
def test_the_model_is_a_twins_only_if_it_had_the_lease(writer: str, outcome: Outcome) -> None:
    world = Seen(
        sighting=replace(LEFT, state=JobState.SUCCEEDED),
        observation=Observation(completed_at=samples.after(minutes=9), writer=writer),
    )
    run = replace(samples.run(), attempts=(replace(TWIN, job=NAME),))
    assert look(run, world).attempts[0].outcome is outcome


def test_when_the_trainer_began_is_what_its_marker_says() -> None:
    assert handed_over("a2").trainer_started_at == samples.after(minutes=6)


def test_a_twin_begins_where_it_took_over_and_not_where_the_run_stood_when_it_was_submitted() -> None:
    progress = samples.progress(
        0, attempt="a2", step=100, from_step=60, steps_per_hour=600, at=samples.after(minutes=9)
    )
    world = Seen(sighting=replace(SIGHTING, state=JobState.RUNNING), observation=Observation(progress=progress))
    run = replace(samples.run(), attempts=(replace(TWIN, job=NAME),))
    standby = look(run, world).attempts[0]
    assert (standby.from_step, standby.advanced_at, standby.saved_at) == (
        60,
        samples.after(minutes=8),
        samples.after(minutes=9),
    )
