"""Test the outcome of an attempt: evidence counts before the text of Vertex AI, and the text before its code."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core.history import Cancel, CancelReason
from spot.core.job import JobError, JobState
from spot.core.run import Outcome, Provisioning
from spot.storage.records.markers import AttemptStarts
from spot.supervisor.classify import AttemptEvidence, classify, classify_refusal
from tests.machinery.samples import T0, attempt, no_quota, stockout

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FAILED, CANCELLED, SUCCEEDED = JobState.FAILED, JobState.CANCELLED, JobState.SUCCEEDED
ON_DEMAND = Provisioning.ON_DEMAND
RAN: dict[str, Any] = {"ran": HOUR, "trainer_starts": 1}
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


def error_with(code: int, message: str = "") -> JobError:
    return JobError(code=code, message=message)


def cancelled_for(why: CancelReason) -> Cancel:
    return Cancel(at=T0, why=why)


def evidence(
    state: JobState,
    *,
    ran: timedelta | None = None,
    since_end: timedelta = 5 * MINUTE,
    trainer_starts: int = 0,
    exit_code: int | None = None,
    advanced: bool = False,
    completed: bool = False,
    replaced: bool = False,
    stands_by: bool = False,
    machines: int = 1,
    error_lag: timedelta = 3 * MINUTE,
    **changes: Any,
) -> AttemptEvidence:
    """Return what is known of an attempt that ended `since_end` ago; `changes` are those of the attempt."""
    ended = attempt(
        state=state,
        ended_at=T0,
        started_at=None if ran is None else T0 - ran,
        advanced_at=T0 if advanced else None,
        **{"timeout": timedelta(days=7), **changes},
    )
    return AttemptEvidence(
        attempt=ended,
        starts=AttemptStarts(count=trainer_starts, exit_code=exit_code),
        now=T0 + since_end,
        error_lag=error_lag,
        machines=machines,
        completed=completed,
        replaced=replaced,
        stands_by=stands_by,
    )


PER_GPU_QUOTA = JobError(
    code=8, message="The following quotas are exceeded: CustomModelTrainingT4GPUsPerProjectPerRegion"
)


@pytest.mark.parametrize("state", [state for state in JobState if not state.ended])
def test_a_job_that_has_not_ended_has_no_outcome(state: JobState) -> None:
    assert classify(evidence(state, completed=True, error=stockout(), exit_code=1)) is None


@pytest.mark.parametrize("state", [state for state in JobState if state.ended])
def test_an_ended_job_with_a_complete_model_succeeded_despite_any_other_evidence(state: JobState) -> None:
    cancel = cancelled_for(CancelReason.COMPLETE)
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
        pytest.param(FAILED, {"error": error_with(8, "STOCKOUT"), **RAN}, "preempted", id="STOCKOUT by its name"),
        pytest.param(FAILED, {"error": exited(1), **RAN}, "training-failed", id="text with status 1"),
        pytest.param(FAILED, {"error": exited(2), **RAN}, "training-failed", id="text with status 2"),
        pytest.param(FAILED, {"error": exited(134), **RAN}, "internal", id="text with status 134, an abort"),
        pytest.param(FAILED, {"error": exited(139), **RAN}, "internal", id="text with status 139, a crash"),
        pytest.param(FAILED, {"error": exited(143), **RAN}, "preempted", id="text with status 143, SIGTERM"),
        pytest.param(FAILED, {"error": exited(130), **RAN}, "preempted", id="text with status 130, SIGINT"),
        pytest.param(
            FAILED, {"error": exited(137), "advanced": True, **RAN}, "preempted", id="killed on a spot machine"
        ),
        pytest.param(FAILED, {"error": exited(137), **RAN}, "internal", id="killed before any progress"),
        pytest.param(FAILED, {"error": exited(1), "exit_code": 75, **RAN}, "internal", id="exit 75 of the trainer"),
        pytest.param(FAILED, {"error": exited(75), **RAN}, "internal", id="text with status 75"),
        pytest.param(
            FAILED, {"exit_code": 75, "machines": 2, "advanced": True, **RAN}, "preempted", id="a lost peer on spot"
        ),
        pytest.param(
            FAILED,
            {"error": exited(75), "machines": 2, "advanced": True, **RAN},
            "preempted",
            id="a peer of a lost rank 0",
        ),
        pytest.param(FAILED, {"exit_code": 75, "machines": 2, **RAN}, "internal", id="a lost peer before any progress"),
        pytest.param(
            FAILED,
            {"exit_code": 75, "machines": 2, "advanced": True, "provisioning": ON_DEMAND, **RAN},
            "internal",
            id="a lost peer on demand",
        ),
        pytest.param(FAILED, {"exit_code": 75, "advanced": True, **RAN}, "internal", id="exit 75 of a single machine"),
        pytest.param(FAILED, {"error": PER_GPU_QUOTA}, "quota", id="no quota for one kind of GPU"),
        pytest.param(
            FAILED, {"error": exited(137), **RAN, "provisioning": ON_DEMAND}, "internal", id="killed on demand"
        ),
        pytest.param(FAILED, {"error": OUT_OF_MEMORY, **RAN}, "out-of-memory", id="out of memory, status 137"),
        pytest.param(FAILED, {"error": INTERNAL, **RAN}, "internal", id="internal error while it ran"),
        pytest.param(FAILED, {"error": INTERNAL}, "no-capacity", id="internal error before it ran"),
        pytest.param(
            FAILED, {"error": INTERNAL, "provisioning": ON_DEMAND}, "internal", id="internal error before on-demand ran"
        ),
        pytest.param(FAILED, {"error": no_quota(code=8)}, "quota", id="no spot quota, error of the job"),
        pytest.param(
            FAILED, {"error": no_quota(ON_DEMAND, code=8)}, "quota", id="no on-demand quota, error of the job"
        ),
        pytest.param(FAILED, {"error": UNSUPPORTED}, "request-rejected", id="unsupported machine"),
        pytest.param(
            FAILED,
            {"error": stockout(), "exit_code": 1, **RAN},
            "training-failed",
            id="exit code before a stockout",
        ),
        pytest.param(FAILED, {"error": exited(1), "exit_code": 143, **RAN}, "preempted", id="exit 143 before the text"),
        pytest.param(
            FAILED, {"error": error_with(13, stockout().message), **RAN}, "preempted", id="text before code 13"
        ),
        pytest.param(FAILED, {"error": error_with(8, INTERNAL.message), **RAN}, "internal", id="text before code 8"),
        pytest.param(
            FAILED,
            {"error": error_with(8, f"{OUT_OF_MEMORY.message} {stockout().message}")},
            "out-of-memory",
            id="two texts",
        ),
        pytest.param(FAILED, {"exit_code": 1, "since_end": MINUTE * 0}, "training-failed", id="exit 1, no text yet"),
        pytest.param(FAILED, {"exit_code": 143, "since_end": MINUTE * 0}, "preempted", id="exit 143, no text yet"),
        pytest.param(FAILED, {"since_end": 2.9 * MINUTE, **RAN}, None, id="no error yet"),
        pytest.param(FAILED, {"since_end": 3 * MINUTE, **RAN}, "preempted", id="no error, ran on spot"),
        pytest.param(FAILED, {**RAN, "provisioning": ON_DEMAND}, "unknown", id="no error, ran on demand"),
        pytest.param(FAILED, {}, "unknown", id="no error, never ran"),
        pytest.param(FAILED, {"error": error_with(8)}, "no-capacity", id="code 8 alone, before it ran"),
        pytest.param(FAILED, {"error": error_with(8), **RAN}, "preempted", id="code 8 alone, after it ran"),
        pytest.param(FAILED, {"error": error_with(13), **RAN}, "internal", id="code 13 alone"),
        pytest.param(FAILED, {"error": error_with(14), **RAN}, "internal", id="code 14 alone"),
        pytest.param(FAILED, {"error": error_with(3)}, "request-rejected", id="code 3 alone"),
        pytest.param(FAILED, {"error": error_with(5)}, "request-rejected", id="code 5 alone"),
        pytest.param(FAILED, {"error": error_with(7)}, "permission", id="code 7 alone"),
        pytest.param(FAILED, {"error": error_with(9)}, "unknown", id="code 9 alone"),
        pytest.param(FAILED, {"error": error_with(4), **RAN}, "expired", id="code 4 alone"),
        pytest.param(FAILED, {"error": error_with(1), **RAN}, "cancelled", id="code 1 alone"),
        pytest.param(
            FAILED,
            {"error": error_with(2, "something new"), "provisioning": ON_DEMAND},
            "unknown",
            id="an unknown text",
        ),
        pytest.param(
            FAILED,
            {"error": error_with(9, "new"), "advanced": True, **RAN},
            "preempted",
            id="an unknown text after progress",
        ),
        pytest.param(FAILED, {"exit_code": 143, **RAN, "provisioning": ON_DEMAND}, "internal", id="exit 143 on demand"),
        pytest.param(
            FAILED, {"error": stockout(), **RAN, "provisioning": ON_DEMAND}, "no-capacity", id="a stockout on demand"
        ),
        pytest.param(
            FAILED, {"error": error_with(1, "CANCELED"), "ran": HOUR, "timeout": HOUR}, "expired", id="its timeout"
        ),
        pytest.param(FAILED, {"error": error_with(1, "CANCELED"), **RAN}, "cancelled", id="a cancel by another user"),
        pytest.param(SUCCEEDED, {"exit_code": 0, **RAN}, "unknown", id="exit 0 without a model"),
        pytest.param(SUCCEEDED, {**RAN}, "unknown", id="success without an exit code"),
        pytest.param(SUCCEEDED, {"exit_code": 143, **RAN}, "preempted", id="success after SIGTERM"),
        pytest.param(SUCCEEDED, {"exit_code": 130, **RAN}, "preempted", id="success after SIGINT"),
        pytest.param(JobState.PARTIALLY_SUCCEEDED, {**RAN}, "unknown", id="partial success without a model"),
        pytest.param(JobState.EXPIRED, {}, "expired", id="expired while it waited"),
        pytest.param(JobState.EXPIRED, {"error": stockout(), **RAN}, "expired", id="expired while it ran"),
        pytest.param(
            CANCELLED,
            {"cancel": cancelled_for(CancelReason.NO_CAPACITY)},
            "no-capacity",
            id="cancelled for no capacity",
        ),
        pytest.param(
            CANCELLED,
            {"cancel": cancelled_for(CancelReason.NO_CAPACITY), **RAN},
            "cancelled",
            id="cancelled for no capacity after it ran",
        ),
        pytest.param(
            CANCELLED, {"cancel": cancelled_for(CancelReason.FALLBACK)}, "cancelled", id="cancelled for the fallback"
        ),
        pytest.param(
            CANCELLED,
            {"cancel": cancelled_for(CancelReason.ASKED), **RAN},
            "cancelled",
            id="cancelled by a user of spot",
        ),
        pytest.param(
            CANCELLED,
            {"cancel": cancelled_for(CancelReason.COMPLETE), **RAN},
            "cancelled",
            id="cancelled as complete, without a model",
        ),
        pytest.param(CANCELLED, {**RAN}, "cancelled", id="cancelled outside of spot"),
        pytest.param(CANCELLED, {"ran": HOUR, "timeout": HOUR}, "expired", id="cancelled at its timeout"),
        pytest.param(
            CANCELLED, {"ran": 58 * MINUTE, "timeout": HOUR}, "expired", id="cancelled two minutes before its timeout"
        ),
        pytest.param(
            CANCELLED,
            {"ran": 57 * MINUTE, "timeout": HOUR},
            "cancelled",
            id="cancelled three minutes before its timeout",
        ),
        pytest.param(
            CANCELLED,
            {"ran": HOUR, "timeout": HOUR, "cancel": cancelled_for(CancelReason.ASKED)},
            "cancelled",
            id="cancelled by a user of spot, at its timeout",
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
    evidence,
    state=st.sampled_from(JobState),
    provisioning=st.sampled_from(Provisioning),
    timeout=SPANS,
    error=st.none() | ERRORS,
    error_lag=st.timedeltas(timedelta(), timedelta(minutes=6)),
    since_end=SPANS | st.timedeltas(timedelta(), timedelta(minutes=6)),
    ran=st.none() | SPANS,
    trainer_starts=st.integers(0, 9),
    exit_code=st.none() | st.integers(0, 255) | st.sampled_from([0, 1, 130, 137, 143]),
    advanced=st.booleans(),
    completed=st.booleans(),
    cancel=st.none() | st.builds(Cancel, at=st.just(T0), why=st.sampled_from(CancelReason)),
)


@given(ALL_EVIDENCE)
def test_complete_evidence_always_has_an_outcome(known: AttemptEvidence) -> None:
    outcome = classify(known)
    state, error = known.attempt.state, known.attempt.error
    empty = error is None or (not error.message and not error.code)
    awaited = state is FAILED and empty and known.now - T0 < known.error_lag
    if not state.ended:
        assert outcome is None
    elif known.completed:
        assert outcome is Outcome.SUCCEEDED
    else:
        assert outcome is not Outcome.SUCCEEDED
        assert outcome is not None or awaited


@pytest.mark.parametrize("state", [state for state in JobState if state.ended])
def test_a_standby_that_waited_to_the_end_has_not_made_the_model(state: JobState) -> None:
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


def replaced(state: JobState, **changes: Any) -> Outcome | None:
    return classify(evidence(state, replaced=True, **RAN, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"exit_code": 75}, id="exit 75 in the marker"),
        pytest.param({"error": exited(75)}, id="status 75 in the text"),
        pytest.param(
            {"exit_code": 143, "cancel": cancelled_for(CancelReason.HANDED_OVER)}, id="cancelled on its way out"
        ),
        pytest.param(
            {"error": exited(137), "cancel": cancelled_for(CancelReason.HANDED_OVER)}, id="killed after a cancel"
        ),
    ],
)
def test_a_holder_that_ends_because_its_standby_has_the_lease_has_handed_over(changes: dict[str, Any]) -> None:
    assert replaced(FAILED, **changes) is Outcome.HANDED_OVER


def test_a_hand_over_counts_even_if_the_model_is_complete_by_now() -> None:
    assert replaced(FAILED, exit_code=75, completed=True) is Outcome.HANDED_OVER


def test_a_cancel_by_a_user_is_no_hand_over_even_if_a_standby_has_the_lease_since() -> None:
    assert replaced(CANCELLED, exit_code=143) is Outcome.CANCELLED


def test_a_lost_holder_that_was_replaced_later_has_not_handed_over() -> None:
    assert replaced(FAILED, error=exited(137)) is Outcome.INTERNAL


def test_exit_75_without_a_successor_is_internal() -> None:
    assert classify(evidence(FAILED, exit_code=75, **RAN)) is Outcome.INTERNAL
