"""Test that `observe` updates a run from Vertex AI and the bucket, cancels strays and repeats cancels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from spot.core.errors import TemporarilyUnavailable
from spot.core.history import Cancel, CancelReason
from spot.core.job import JobError, JobSnapshot, JobState
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run
from spot.google.vertex import CREATE_S, JobNotFound
from spot.storage.records.markers import AttemptStarts
from spot.supervisor.observe import GIVE_UP_AFTER, GIVE_UP_UNHEARD_AFTER, NOT_FOUND, STRAYS_FOR, observe
from spot.supervisor.reconcile import CREATE_WITHIN, is_settling
from tests.machinery import samples

NAME = str(samples.ATTEMPT.job)
JOB = JobSnapshot(name=NAME, state=JobState.PENDING, created_at=samples.T0, started_at=None, ended_at=None, error=None)
NOTHING, UNMARKED = Observation(), AttemptStarts(count=0, exit_code=None)
CANCEL = Cancel(at=samples.after(minutes=1), why=CancelReason.NO_CAPACITY)
LOST = samples.attempt(job=None, state=JobState.UNSPECIFIED)
GIVEN_UP = replace(
    LOST, outcome=Outcome.UNKNOWN, ended_at=samples.after(minutes=5), error=JobError(code=NOT_FOUND, message="lost")
)


@dataclass
class FakeSources:
    """Serve one job and one training status, and record cancels and searches."""

    job: JobSnapshot | None = JOB
    error: Exception | None = None
    observation: Observation = NOTHING
    marked: AttemptStarts = UNMARKED
    answers: bool = True
    """Whether a search by labels gets an answer."""
    extras: tuple[JobSnapshot, ...] = ()
    """Newer jobs with the labels of the attempt."""
    cancelled: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)

    def create(self, run: Run, attempt: Attempt) -> JobSnapshot:  # noqa: ARG002  # Jobs
        raise AssertionError("observe() creates no job")

    def get(self, run: Run, attempt: Attempt) -> JobSnapshot:  # noqa: ARG002  # Jobs
        assert attempt.job == NAME
        if self.error:
            raise self.error
        assert self.job
        return self.job

    def find(self, run: Run, attempt: Attempt) -> list[JobSnapshot]:  # noqa: ARG002  # Jobs
        self.searches.append(attempt.id)
        if not self.answers:
            raise TemporarilyUnavailable("no answer")
        return [self.job, *self.extras] if self.job else []

    def cancel(self, name: str) -> None:
        self.cancelled.append(name)

    def observe(self, run: Run) -> Observation:  # noqa: ARG002  # TrainingStatus
        return self.observation

    def starts(self, run: Run, attempt: Attempt) -> AttemptStarts:  # noqa: ARG002  # TrainingStatus
        return self.marked


def look(run: Run, world: FakeSources, *, minutes: float = 10) -> Run:
    return observe(run, world, world, samples.after(minutes=minutes))[0]


def last(run: Run) -> Attempt:
    return run.attempts[-1]


def job_in(state: JobState, **changes: object) -> JobSnapshot:
    return replace(JOB, state=state, **changes)  # type: ignore[arg-type]


def test_a_create_is_given_up_only_after_it_can_no_longer_be_sent() -> None:
    assert CREATE_WITHIN + timedelta(seconds=CREATE_S) < GIVE_UP_AFTER < STRAYS_FOR


def test_a_run_without_an_active_attempt_is_only_read() -> None:
    run = samples.run(samples.ended(Outcome.PREEMPTED))
    assert look(run, FakeSources(job=None)) == run


def test_a_running_job_is_recorded_with_its_start() -> None:
    started = samples.after(minutes=6)
    found = last(look(samples.run(samples.attempt()), FakeSources(job_in(JobState.RUNNING, started_at=started))))
    assert (found.state, found.started_at, found.ended_at, found.outcome) == (JobState.RUNNING, started, None, None)


def test_the_first_start_is_kept_when_a_later_one_is_reported() -> None:
    run = samples.run(samples.attempt(started_at=samples.after(minutes=3)))
    found = last(look(run, FakeSources(job_in(JobState.RUNNING, started_at=samples.after(minutes=6)))))
    assert found.started_at == samples.after(minutes=3)


def test_only_a_checkpoint_of_its_own_shows_that_an_attempt_advanced() -> None:
    run = samples.run(samples.ended(Outcome.PREEMPTED), samples.attempt())
    theirs, ours = samples.seen(1, attempt="a1"), samples.seen(2, attempt="a2", at=samples.after(minutes=9))
    assert last(look(run, FakeSources(observation=theirs))).advanced_at is None
    advanced = look(run, FakeSources(observation=ours))
    assert last(advanced).advanced_at == samples.T0
    later = samples.seen(3, attempt="a2", at=samples.after(minutes=20))
    assert last(look(advanced, FakeSources(observation=later))).advanced_at == last(advanced).advanced_at


def test_an_ended_job_gets_its_outcome_from_the_evidence() -> None:
    ended = job_in(JobState.FAILED, started_at=samples.T0, ended_at=samples.after(minutes=9))
    world = FakeSources(ended, observation=samples.seen(2), marked=AttemptStarts(count=3, exit_code=143))
    found = last(look(samples.run(samples.attempt()), world))
    assert (found.outcome, found.starts, found.last_step) == (Outcome.PREEMPTED, 3, 120)
    assert found.ended_at == samples.after(minutes=9)


@pytest.mark.parametrize(("count", "outcome"), [(1, Outcome.INTERNAL), (2, Outcome.PREEMPTED)])
def test_a_spot_run_of_several_machines_that_lost_one_was_preempted(count: int, outcome: Outcome) -> None:
    ended = job_in(JobState.FAILED, started_at=samples.after(minutes=1), ended_at=samples.after(minutes=9))
    world = FakeSources(ended, observation=samples.seen(2), marked=AttemptStarts(count=1, exit_code=75))
    run = samples.run(samples.attempt(), machine=replace(samples.SPEC.machine, count=count))
    assert last(look(run, world)).outcome is outcome


def test_a_failure_is_not_classified_before_its_error_can_have_arrived() -> None:
    run = samples.run(samples.attempt())
    ended = job_in(JobState.FAILED, ended_at=samples.after(minutes=9))
    silent = look(run, FakeSources(ended))
    assert last(silent).outcome is None
    explained = look(silent, FakeSources(replace(ended, error=samples.stockout())), minutes=11)
    assert last(explained).outcome is Outcome.NO_CAPACITY
    assert last(explained).error == samples.stockout()


def test_a_job_without_an_end_time_ended_when_its_end_was_first_observed() -> None:
    run = look(samples.run(samples.attempt()), FakeSources(job_in(JobState.FAILED)), minutes=10)
    assert last(look(run, FakeSources(job_in(JobState.FAILED)), minutes=12)).ended_at == samples.after(minutes=10)


def test_a_create_without_an_answer_is_found_by_its_labels() -> None:
    found = last(look(samples.run(LOST), FakeSources(), minutes=1))
    assert (found.job, found.state) == (NAME, JobState.PENDING)


def test_a_create_that_is_not_found_is_given_up_after_a_wait() -> None:
    run = samples.run(LOST)
    assert look(run, FakeSources(job=None), minutes=5) == run
    given_up = last(look(run, FakeSources(job=None), minutes=5.1))
    assert (given_up.outcome, given_up.never_created) == (Outcome.UNKNOWN, True)
    assert given_up.error
    assert "no job of a1 was found" in given_up.error.message


SILENT_FOR = GIVE_UP_UNHEARD_AFTER / timedelta(minutes=1)


def test_a_create_in_a_region_that_never_answers_is_given_up() -> None:
    run, silent = samples.run(LOST), FakeSources(answers=False)
    with pytest.raises(TemporarilyUnavailable):
        look(run, silent, minutes=SILENT_FOR)
    assert last(look(run, silent, minutes=SILENT_FOR + 0.1)).never_created


def test_a_known_job_is_never_given_up_while_its_region_does_not_answer() -> None:
    silent = FakeSources(answers=False, error=JobNotFound("no such job"))
    with pytest.raises(TemporarilyUnavailable):
        look(samples.run(samples.attempt()), silent, minutes=SILENT_FOR + 60)


def test_with_a_budget_a_create_without_an_answer_is_not_given_up() -> None:
    with pytest.raises(TemporarilyUnavailable):
        look(samples.run(LOST, budget_usd=50.0), FakeSources(answers=False), minutes=SILENT_FOR + 60)


def test_a_job_found_neither_by_name_nor_by_labels_ends_as_unknown() -> None:
    world = FakeSources(job=None, error=JobNotFound("there is no such job"), observation=samples.seen(2))
    found = last(look(samples.run(samples.attempt()), world))
    assert (found.outcome, found.last_step, found.ended_at) == (Outcome.UNKNOWN, 120, samples.after(minutes=10))
    assert not found.never_created


def test_a_job_found_only_by_its_labels_is_still_active() -> None:
    world = FakeSources(job_in(JobState.RUNNING), error=JobNotFound("no such job at this endpoint"))
    found = last(look(samples.run(samples.attempt()), world))
    assert (found.state, found.outcome) == (JobState.RUNNING, None)


def test_a_new_job_that_is_not_found_yet_is_looked_up_again() -> None:
    run = samples.run(samples.attempt())
    assert look(run, FakeSources(job=None, error=JobNotFound("there is no such job")), minutes=4) == run


@pytest.mark.parametrize("reconciled", [40, 200])
def test_the_measured_start_time_does_not_depend_on_the_time_of_the_reconcile(reconciled: float) -> None:
    """At 60 steps an hour from step 60, a checkpoint at step 90 came half an hour after the first step."""
    run = samples.run(samples.attempt(from_step=60, started_at=samples.after(minutes=1)))
    world = FakeSources(job_in(JobState.RUNNING), observation=samples.seen(1.5, at=samples.after(minutes=40)))
    assert last(look(run, world, minutes=reconciled)).advanced_at == samples.after(minutes=10)


def test_training_never_starts_before_its_machine() -> None:
    run = samples.run(samples.attempt(started_at=samples.after(minutes=39)))
    world = FakeSources(job_in(JobState.RUNNING), observation=samples.seen(1.5, at=samples.after(minutes=40)))
    assert last(look(run, world, minutes=50)).advanced_at == samples.after(minutes=39)


def test_the_bucket_is_read_after_the_job() -> None:
    """A job that ends between the two reads has completed its model by then."""
    order: list[str] = []

    class Recorded(FakeSources):
        def get(self, run: Run, attempt: Attempt) -> JobSnapshot:
            order.append("job")
            return super().get(run, attempt)

        def observe(self, run: Run) -> Observation:
            order.append("bucket")
            return super().observe(run)

    look(samples.run(samples.attempt()), Recorded(job_in(JobState.RUNNING)))
    assert order == ["job", "bucket"]


def test_a_failed_read_ends_observe() -> None:
    with pytest.raises(TemporarilyUnavailable):
        look(samples.run(samples.attempt()), FakeSources(error=TemporarilyUnavailable("no answer")))


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.PENDING, JobState.RUNNING, JobState.UNSPECIFIED])
def test_a_recorded_cancel_is_repeated_until_the_job_shows_it(state: JobState) -> None:
    world = FakeSources(job_in(state))
    look(samples.run(samples.attempt(cancel=CANCEL)), world)
    assert world.cancelled == [NAME]


@pytest.mark.parametrize("state", [JobState.CANCELLING, JobState.CANCELLED, JobState.SUCCEEDED])
def test_a_cancel_is_not_repeated_once_the_job_shows_it(state: JobState) -> None:
    world = FakeSources(job_in(state))
    look(samples.run(samples.attempt(cancel=CANCEL)), world)
    assert world.cancelled == []


def test_a_cancel_of_a_lost_create_reaches_its_job_once_it_is_found() -> None:
    world = FakeSources()
    look(samples.run(replace(LOST, cancel=CANCEL)), world)
    assert world.cancelled == [NAME]


@pytest.mark.parametrize("active", [(), (samples.attempt(),)])
def test_a_job_that_appears_after_its_create_was_given_up_is_cancelled(active: tuple[Attempt, ...]) -> None:
    world = FakeSources()
    look(samples.run(GIVEN_UP, *active), world, minutes=59)
    assert world.cancelled == [NAME]


@pytest.mark.parametrize("state", [JobState.CANCELLING, JobState.CANCELLED])
def test_a_stray_that_is_ending_is_not_cancelled_again(state: JobState) -> None:
    world = FakeSources(job_in(state))
    look(samples.run(GIVEN_UP), world)
    assert world.cancelled == []


def test_a_job_that_reappears_after_it_was_given_up_is_a_stray() -> None:
    world = FakeSources()
    look(samples.run(replace(GIVEN_UP, job=NAME)), world, minutes=59)
    assert world.cancelled == [NAME]


def test_a_region_that_does_not_answer_does_not_block_the_active_attempt_elsewhere() -> None:
    class Elsewhere(FakeSources):
        def find(self, run: Run, attempt: Attempt) -> list[JobSnapshot]:  # noqa: ARG002
            raise TemporarilyUnavailable("no answer")

    started = job_in(JobState.RUNNING)
    assert last(look(samples.run(GIVEN_UP, samples.attempt()), Elsewhere(started))).state is JobState.RUNNING


def test_of_two_jobs_of_one_create_the_newer_is_cancelled() -> None:
    name = NAME.replace("customJobs/1", "customJobs/2")
    world = FakeSources(extras=(replace(JOB, name=name),))
    assert last(look(samples.run(LOST), world, minutes=1)).job == NAME
    assert world.cancelled == [name]


def test_no_time_of_another_clock_is_later_than_the_reconcile() -> None:
    """The reconcile would wait in every turn for a job that ends in the future."""
    ahead = samples.after(hours=5)
    world = FakeSources(
        job_in(JobState.FAILED, started_at=ahead, ended_at=ahead),
        observation=samples.seen(1, at=ahead, completed_at=ahead),
    )
    found, seen = observe(samples.run(samples.attempt()), world, world, samples.after(minutes=10))
    now = samples.after(minutes=10)
    times = (last(found).started_at, last(found).ended_at, last(found).advanced_at, last(found).saved_at)
    assert (*times, seen.completed_at) == (now,) * 5
    assert is_settling(last(found), now)
    assert not is_settling(replace(last(found), ended_at=ahead), now)


def test_the_search_for_strays_ends() -> None:
    world = FakeSources()
    look(samples.run(GIVEN_UP), world, minutes=65)
    assert world.searches == []


HOLDER = samples.attempt(
    id="a1",
    provisioning=Provisioning.ON_DEMAND,
    state=JobState.RUNNING,
    started_at=samples.after(minutes=5),
    advanced_at=samples.after(minutes=8),
)
STANDBY = samples.attempt(id="a2", replaces="a1", job=None, intended_at=samples.after(minutes=8))
FAILED_JOB = replace(JOB, state=JobState.FAILED, started_at=samples.after(minutes=5), ended_at=samples.after(minutes=9))


def handed_over(writer: str | None, *, exit_code: int | None = 75, step: int = 100) -> Attempt:
    """Observe a failed job of the holder, with a standby at `step` that resumed at step 60, and return the holder."""
    progress = samples.progress(0, attempt="a2", step=step, from_step=60)
    world = FakeSources(
        job=FAILED_JOB,
        observation=Observation(progress=progress, writer=writer),
        marked=AttemptStarts(count=1, exit_code=exit_code, started_at=samples.after(minutes=6)),
    )
    return look(replace(samples.run(), attempts=(HOLDER, STANDBY)), world).attempts[0]


def test_a_holder_that_ended_for_its_standby_handed_over_at_the_step_where_the_standby_resumed() -> None:
    holder = handed_over("a2")
    assert (holder.outcome, holder.last_step) == (Outcome.HANDED_OVER, 60)


def test_a_holder_whose_trainer_was_killed_has_not_handed_over() -> None:
    assert handed_over("a2", exit_code=None).outcome is not Outcome.HANDED_OVER


def test_a_holder_that_still_has_the_lease_has_not_handed_over() -> None:
    assert handed_over("a1").outcome is Outcome.INTERNAL


@pytest.mark.parametrize(("writer", "outcome"), [("a1", Outcome.CANCELLED), ("a2", Outcome.SUCCEEDED)])
def test_a_standby_completed_the_model_only_if_it_had_the_lease(writer: str, outcome: Outcome) -> None:
    world = FakeSources(
        job=replace(FAILED_JOB, state=JobState.SUCCEEDED),
        observation=Observation(completed_at=samples.after(minutes=9), writer=writer),
    )
    run = replace(samples.run(), attempts=(replace(STANDBY, job=NAME),))
    assert look(run, world).attempts[0].outcome is outcome


def test_the_start_of_the_trainer_comes_from_its_marker() -> None:
    assert handed_over("a2").trainer_started_at == samples.after(minutes=6)


def test_a_standby_starts_at_the_step_of_the_hand_over_and_not_of_its_submit() -> None:
    progress = samples.progress(
        0, attempt="a2", step=100, from_step=60, steps_per_hour=600, at=samples.after(minutes=9)
    )
    world = FakeSources(job=replace(JOB, state=JobState.RUNNING), observation=Observation(progress=progress))
    run = replace(samples.run(), attempts=(replace(STANDBY, job=NAME),))
    standby = look(run, world).attempts[0]
    assert (standby.from_step, standby.advanced_at, standby.saved_at) == (
        60,
        samples.after(minutes=8),
        samples.after(minutes=9),
    )
