"""How an attempt ended: evidence before Vertex AI's text, its text before its code."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core.job import JobError, JobState
from spot.core.run import Cancel, CancelReason, Outcome, Provisioning
from spot.supervisor.classify import ERROR_IS_LATE, AttemptEvidence, classify, classify_refusal
from tests.machinery.samples import T0, no_quota, stockout

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FAILED, CANCELLED, SUCCEEDED = JobState.FAILED, JobState.CANCELLED, JobState.SUCCEEDED
ON_DEMAND = Provisioning.ON_DEMAND
RAN = {"ran": HOUR, "trainer_starts": 1}
OUT_OF_MEMORY = JobError(
    code=3, message="The replica workerpool0-0 ran out of memory and exited with a non-zero status of 137."
)
INTERNAL = JobError(code=13, message="Internal error occurred for the current attempt.")
UNSUPPORTED = JobError(code=3, message='Machine type "a2-highgpu-1g" is not supported.')
RATE_LIMIT = JobError(
    code=429,
    message="Quota exceeded for quota metric 'Resource management (CRUD) requests' and limit"
    " 'Resource management (CRUD) requests per minute per region' of service 'aiplatform.googleapis.com'.",
)


def exited(status: int) -> JobError:
    message = f"The replica workerpool0-0 exited with a non-zero status of {status}. Termination reason: Error."
    return JobError(code=3, message=message)


def said(code: int, message: str = "") -> JobError:
    return JobError(code=code, message=message)


def ours(why: CancelReason) -> Cancel:
    return Cancel(at=T0, why=why)


def evidence(state: JobState, **changes: Any) -> AttemptEvidence:
    known: dict[str, Any] = {"provisioning": Provisioning.SPOT, "timeout": timedelta(days=7), "since_end": 5 * MINUTE}
    return AttemptEvidence(state=state, **{**known, **changes})


PER_GPU_QUOTA = JobError(
    code=8, message="The following quotas are exceeded: CustomModelTrainingT4GPUsPerProjectPerRegion"
)


@pytest.mark.parametrize("state", [state for state in JobState if not state.ended])
def test_a_job_that_has_not_ended_has_no_outcome(state: JobState) -> None:
    assert classify(evidence(state, completed=True, error=stockout(), exit_code=1)) is None


@pytest.mark.parametrize("state", [state for state in JobState if state.ended])
def test_an_ended_job_with_a_complete_model_succeeded_whatever_else_is_said(state: JobState) -> None:
    cancel = ours(CancelReason.COMPLETE)
    assert classify(evidence(state, completed=True, error=exited(1), exit_code=1, cancel=cancel)) is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("state", "changes", "outcome"),
    [
        pytest.param(FAILED, {"error": stockout()}, "no-capacity", id="stockout before it ran"),
        pytest.param(FAILED, {"error": stockout(), "ran": HOUR}, "preempted", id="stockout after it ran"),
        pytest.param(
            FAILED, {"error": stockout(), "trainer_starts": 1}, "preempted", id="stockout after the trainer started"
        ),
        pytest.param(FAILED, {"error": stockout(), "advanced": True}, "preempted", id="stockout after a checkpoint"),
        pytest.param(FAILED, {"error": said(8, "STOCKOUT"), **RAN}, "preempted", id="STOCKOUT by its name"),
        pytest.param(FAILED, {"error": exited(1), **RAN}, "training-failed", id="the text says status 1"),
        pytest.param(FAILED, {"error": exited(2), **RAN}, "training-failed", id="the text says status 2"),
        pytest.param(FAILED, {"error": exited(134), **RAN}, "internal", id="the text says status 134, an abort"),
        pytest.param(FAILED, {"error": exited(139), **RAN}, "internal", id="the text says status 139, a crash"),
        pytest.param(FAILED, {"error": exited(143), **RAN}, "preempted", id="the text says status 143, SIGTERM"),
        pytest.param(FAILED, {"error": exited(130), **RAN}, "preempted", id="the text says status 130, SIGINT"),
        pytest.param(
            FAILED, {"error": exited(137), "advanced": True, **RAN}, "preempted", id="killed on a spot machine"
        ),
        pytest.param(FAILED, {"error": exited(137), **RAN}, "internal", id="killed before it got anywhere"),
        pytest.param(FAILED, {"error": exited(1), "exit_code": 75, **RAN}, "internal", id="the trainer's 75: again"),
        pytest.param(FAILED, {"error": exited(75), **RAN}, "internal", id="the text says status 75"),
        pytest.param(FAILED, {"error": PER_GPU_QUOTA}, "quota", id="no quota, in the words for one kind of GPU"),
        pytest.param(
            FAILED, {"error": exited(137), **RAN, "provisioning": ON_DEMAND}, "internal", id="killed on demand"
        ),
        pytest.param(FAILED, {"error": OUT_OF_MEMORY, **RAN}, "out-of-memory", id="out of memory, status 137"),
        pytest.param(FAILED, {"error": INTERNAL, **RAN}, "internal", id="internal error while it ran"),
        pytest.param(FAILED, {"error": INTERNAL}, "no-capacity", id="internal error before it ran"),
        pytest.param(
            FAILED, {"error": INTERNAL, "provisioning": ON_DEMAND}, "internal", id="internal error before on-demand ran"
        ),
        pytest.param(FAILED, {"error": no_quota(code=8)}, "quota", id="no spot quota, said by the job"),
        pytest.param(FAILED, {"error": no_quota(ON_DEMAND, code=8)}, "quota", id="no quota, said by the job"),
        pytest.param(FAILED, {"error": UNSUPPORTED}, "request-rejected", id="unsupported machine"),
        pytest.param(
            FAILED,
            {"error": stockout(), "exit_code": 1, **RAN},
            "training-failed",
            id="the trainer's word beats a stockout",
        ),
        pytest.param(
            FAILED, {"error": exited(1), "exit_code": 143, **RAN}, "preempted", id="the trainer's 143 beats the text"
        ),
        pytest.param(FAILED, {"error": said(13, stockout().message), **RAN}, "preempted", id="the text beats code 13"),
        pytest.param(FAILED, {"error": said(8, INTERNAL.message), **RAN}, "internal", id="the text beats code 8"),
        pytest.param(
            FAILED, {"error": said(8, f"{OUT_OF_MEMORY.message} {stockout().message}")}, "out-of-memory", id="two texts"
        ),
        pytest.param(
            FAILED, {"exit_code": 1, "since_end": MINUTE * 0}, "training-failed", id="the trainer's 1, no text yet"
        ),
        pytest.param(FAILED, {"exit_code": 143, "since_end": MINUTE * 0}, "preempted", id="its 143, no text yet"),
        pytest.param(FAILED, {"since_end": 2.9 * MINUTE, **RAN}, None, id="no error yet"),
        pytest.param(FAILED, {"since_end": 3 * MINUTE, **RAN}, "preempted", id="never an error, and killed on spot"),
        pytest.param(FAILED, {**RAN, "provisioning": ON_DEMAND}, "unknown", id="never an error, and killed on demand"),
        pytest.param(FAILED, {}, "unknown", id="never an error, and never ran"),
        pytest.param(FAILED, {"error": said(8)}, "no-capacity", id="code 8 alone, before it ran"),
        pytest.param(FAILED, {"error": said(8), **RAN}, "preempted", id="code 8 alone, after it ran"),
        pytest.param(FAILED, {"error": said(13), **RAN}, "internal", id="code 13 alone"),
        pytest.param(FAILED, {"error": said(14), **RAN}, "internal", id="code 14 alone"),
        pytest.param(FAILED, {"error": said(3)}, "request-rejected", id="code 3 alone"),
        pytest.param(FAILED, {"error": said(5)}, "request-rejected", id="code 5 alone"),
        pytest.param(FAILED, {"error": said(7)}, "permission", id="code 7 alone"),
        pytest.param(FAILED, {"error": said(9)}, "unknown", id="code 9 alone"),
        pytest.param(FAILED, {"error": said(4), **RAN}, "expired", id="code 4 alone"),
        pytest.param(FAILED, {"error": said(1), **RAN}, "cancelled", id="code 1 alone"),
        pytest.param(
            FAILED, {"error": said(2, "something new"), "provisioning": ON_DEMAND}, "unknown", id="a text nobody knows"
        ),
        pytest.param(FAILED, {"error": said(9, "new"), "advanced": True, **RAN}, "preempted", id="one after progress"),
        pytest.param(
            FAILED, {"exit_code": 143, **RAN, "provisioning": ON_DEMAND}, "internal", id="on demand is not preempted"
        ),
        pytest.param(
            FAILED, {"error": stockout(), **RAN, "provisioning": ON_DEMAND}, "no-capacity", id="on demand, a stockout"
        ),
        pytest.param(FAILED, {"error": said(1, "CANCELED"), "ran": HOUR, "timeout": HOUR}, "expired", id="its timeout"),
        pytest.param(FAILED, {"error": said(1, "CANCELED"), **RAN}, "cancelled", id="a cancel by somebody else"),
        pytest.param(SUCCEEDED, {"exit_code": 0, **RAN}, "unknown", id="exit 0 without a model"),
        pytest.param(SUCCEEDED, {**RAN}, "unknown", id="success without a word of the trainer"),
        pytest.param(SUCCEEDED, {"exit_code": 143, **RAN}, "preempted", id="success after SIGTERM"),
        pytest.param(SUCCEEDED, {"exit_code": 130, **RAN}, "preempted", id="success after SIGINT"),
        pytest.param(JobState.PARTIALLY_SUCCEEDED, {**RAN}, "unknown", id="partial success without a model"),
        pytest.param(JobState.EXPIRED, {}, "expired", id="expired while it waited"),
        pytest.param(JobState.EXPIRED, {"error": stockout(), **RAN}, "expired", id="expired while it ran"),
        pytest.param(
            CANCELLED, {"cancel": ours(CancelReason.NO_CAPACITY)}, "no-capacity", id="ours, it waited too long"
        ),
        pytest.param(
            CANCELLED, {"cancel": ours(CancelReason.NO_CAPACITY), **RAN}, "cancelled", id="ours, it waited and had run"
        ),
        pytest.param(CANCELLED, {"cancel": ours(CancelReason.FALLBACK)}, "cancelled", id="ours, for on-demand"),
        pytest.param(CANCELLED, {"cancel": ours(CancelReason.ASKED), **RAN}, "cancelled", id="ours, somebody asked"),
        pytest.param(CANCELLED, {"cancel": ours(CancelReason.COMPLETE), **RAN}, "cancelled", id="ours, no model there"),
        pytest.param(CANCELLED, {**RAN}, "cancelled", id="somebody else's"),
        pytest.param(CANCELLED, {"ran": HOUR, "timeout": HOUR}, "expired", id="nobody's, at its timeout"),
        pytest.param(
            CANCELLED, {"ran": 58 * MINUTE, "timeout": HOUR}, "expired", id="nobody's, two minutes before its timeout"
        ),
        pytest.param(
            CANCELLED, {"ran": 57 * MINUTE, "timeout": HOUR}, "cancelled", id="nobody's, three minutes before"
        ),
        pytest.param(
            CANCELLED,
            {"ran": HOUR, "timeout": HOUR, "cancel": ours(CancelReason.ASKED)},
            "cancelled",
            id="ours, at its timeout",
        ),
    ],
)
def test_an_attempt_ended(state: JobState, changes: dict[str, Any], outcome: str | None) -> None:
    assert classify(evidence(state, **changes)) == outcome


MESSAGES = st.text() | st.sampled_from(
    [error.message for error in (stockout(), no_quota(), INTERNAL, UNSUPPORTED, OUT_OF_MEMORY, exited(1), exited(137))]
)
ERRORS = st.builds(JobError, code=st.integers(-1, 600), message=MESSAGES)
SPANS = st.timedeltas(timedelta(), timedelta(days=8))
ALL_EVIDENCE = st.builds(
    AttemptEvidence,
    state=st.sampled_from(JobState),
    provisioning=st.sampled_from(Provisioning),
    timeout=SPANS,
    error=st.none() | ERRORS,
    since_end=SPANS | st.timedeltas(timedelta(), 2 * ERROR_IS_LATE),
    ran=st.none() | SPANS,
    trainer_starts=st.integers(0, 9),
    exit_code=st.none() | st.integers(0, 255) | st.sampled_from([0, 1, 130, 137, 143]),
    advanced=st.booleans(),
    completed=st.booleans(),
    cancel=st.none() | st.builds(Cancel, at=st.just(T0), why=st.sampled_from(CancelReason)),
)


@given(ALL_EVIDENCE)
def test_every_evidence_has_an_outcome_once_it_is_whole(known: AttemptEvidence) -> None:
    outcome = classify(known)
    empty = known.error is None or (not known.error.message and not known.error.code)
    awaited = known.state is FAILED and empty and known.since_end < ERROR_IS_LATE
    if not known.state.ended:
        assert outcome is None
    elif known.completed:
        assert outcome is Outcome.SUCCEEDED
    else:
        assert outcome is not Outcome.SUCCEEDED
        assert outcome is not None or awaited


@pytest.mark.parametrize("state", [state for state in JobState if state.ended])
def test_a_twin_that_stood_by_to_the_end_has_not_made_the_model(state: JobState) -> None:
    assert classify(evidence(state, completed=True, stands_by=True, exit_code=0)) is Outcome.CANCELLED


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        pytest.param(no_quota(), "quota", id="no quota for spot"),
        pytest.param(no_quota(ON_DEMAND), "quota", id="no quota for on-demand"),
        pytest.param(replace(PER_GPU_QUOTA, code=429), "quota", id="no quota for one kind of GPU"),
        pytest.param(replace(stockout(), code=429), "no-capacity", id="a stockout at once"),
        pytest.param(RATE_LIMIT, "no-capacity", id="too many requests"),
        pytest.param(JobError(code=429, message=""), "no-capacity", id="429 without a text"),
        pytest.param(JobError(code=400, message=UNSUPPORTED.message), "request-rejected", id="unsupported machine"),
        pytest.param(JobError(code=404, message="Not found."), "request-rejected", id="404"),
        pytest.param(JobError(code=409, message="Conflict."), "request-rejected", id="409"),
    ],
)
def test_a_refused_create_ended(error: JobError, outcome: str) -> None:
    assert classify_refusal(error) == outcome


def relieved(state: JobState, **changes: Any) -> Outcome | None:
    return classify(evidence(state, replaced=True, **RAN, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"exit_code": 75}, id="it said so"),
        pytest.param({"error": exited(75)}, id="Vertex AI says with what it ended"),
        pytest.param({"exit_code": 143, "cancel": ours(CancelReason.HANDED_OVER)}, id="it was told to, on its way out"),
        pytest.param({"error": exited(137), "cancel": ours(CancelReason.HANDED_OVER)}, id="it had to be killed"),
    ],
)
def test_who_leaves_because_another_one_has_the_lease_has_handed_over(changes: dict[str, Any]) -> None:
    assert relieved(FAILED, **changes) is Outcome.HANDED_OVER


def test_a_hand_over_is_one_though_the_model_is_complete_by_now() -> None:
    assert relieved(FAILED, exit_code=75, completed=True) is Outcome.HANDED_OVER


def test_somebodys_cancel_is_no_hand_over_even_if_a_twin_has_taken_the_lease_since() -> None:
    assert relieved(CANCELLED, exit_code=143) is Outcome.CANCELLED


def test_a_holder_that_was_lost_and_then_relieved_has_not_handed_over() -> None:
    assert relieved(FAILED, error=exited(137)) is Outcome.INTERNAL


def test_exit_75_without_a_successor_is_internal() -> None:
    assert classify(evidence(FAILED, exit_code=75, **RAN)) is Outcome.INTERNAL
