"""Every real text that Vertex AI is known to answer with, in many variations, has the outcome that it stands for.

error_texts.json holds the texts, verbatim from public sources but for the places in braces, which vary here.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core.actions import Action, Close, Submit, Wait
from spot.core.job import JobError, JobState
from spot.core.run import Attempt, Outcome, Provisioning, RunState, Strategy
from spot.policy.decide import decide
from spot.supervisor.classify import AttemptEvidence, Code, classify, classify_refusal
from spot.supervisor.error_texts import Family, exit_status, grant
from tests.machinery.samples import SPEC, T0, after, ended, run, seen
from tests.machinery.supervisor import test_classify

CORPUS: dict[str, Any] = json.loads(Path(__file__).with_name("error_texts.json").read_text())
EVIDENCE: dict[str, dict[str, Any]] = CORPUS["evidence"]
REGIONS = ("us-central1", "europe-west4", "asia-southeast1", "northamerica-northeast1")
NAMES = ("our-project", "acme-ml-7", "trainer", "p-0123")
VARIATIONS = 40


def varied(text: str, rng: random.Random) -> str:
    """Fill the places in braces, wrap the text in other words, and change its case."""

    def filled(text: str) -> str:
        places = {
            "region": rng.choice(REGIONS),
            "name": rng.choice(NAMES),
            "digit": str(rng.randint(0, 9)),
            "number": str(rng.randint(10, 10**12)),
        }
        return re.sub(r"\{(\w+)\}", lambda place: places[place[1]], text)

    before, after = rng.choice(CORPUS["wrappings"]).split("{}")
    whole = filled(before) + filled(text) + filled(after)
    return rng.choice([whole, whole, whole.lower(), whole.upper()])


def variations(text: str, codes: list[int]) -> Iterator[JobError]:
    rng = random.Random(text)
    for _ in range(VARIATIONS):
        yield JobError(code=rng.choice(codes), message=varied(text, rng))


def evidence(name: str, error: JobError, **changes: Any) -> AttemptEvidence:
    known = EVIDENCE[name]
    return test_classify.evidence(
        JobState.FAILED,
        provisioning=Provisioning(known["provisioning"]),
        error=error,
        ran=timedelta(hours=1) if known.get("ran") else None,
        since_end=changes.pop("since_end", timedelta()),
        trainer_starts=1 if known.get("ran") else 0,
        advanced=known.get("advanced", False),
        **changes,
    )


@pytest.mark.parametrize("entry", CORPUS["job"], ids=lambda entry: entry["text"][:60])
def test_an_error_of_a_job_means_what_its_family_means(entry: dict[str, Any]) -> None:
    outcomes = entry["outcomes"]
    for name in EVIDENCE:
        if expected := outcomes.get(name, outcomes.get("*")):
            allowed = expected if isinstance(expected, list) else [expected]
            for error in variations(entry["text"], entry["codes"]):
                assert classify(evidence(name, error)) in allowed, (name, error)


@pytest.mark.parametrize("entry", CORPUS["create"], ids=lambda entry: entry["text"][:60])
def test_a_refusal_of_a_create_means_what_its_family_means(entry: dict[str, Any]) -> None:
    for error in variations(entry["text"], entry["codes"]):
        assert classify_refusal(error) == entry["outcome"], error


@pytest.mark.parametrize("entry", CORPUS["job"], ids=lambda entry: entry["text"][:60])
def test_nothing_is_preempted_on_demand(entry: dict[str, Any]) -> None:
    for name in EVIDENCE:
        if name.startswith("on demand"):
            for error in variations(entry["text"], list(Code)):
                assert classify(evidence(name, error)) is not Outcome.PREEMPTED
                assert classify(evidence(name, error, exit_code=143)) is not Outcome.PREEMPTED


@pytest.mark.parametrize("text", CORPUS["progress"])
def test_a_progress_text_is_no_error(text: str) -> None:
    assert (Family.of(text), exit_status(text)) == (None, None)


ENTRIES = [entry["text"] for part in ("job", "create") for entry in CORPUS[part]]
WORDS = sorted({word for text in ENTRIES for word in text.split()})
ANY_TEXT = (
    st.text()
    | st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)
    | st.builds(lambda text, seed: varied(text, random.Random(seed)), st.sampled_from(ENTRIES), st.integers())
)
CODES = st.integers(-1, 20) | st.integers()


@given(ANY_TEXT, CODES, st.sampled_from(sorted(EVIDENCE)))
def test_every_text_has_an_outcome(text: str, code: int, name: str) -> None:
    assert classify(evidence(name, JobError(code=code, message=text), since_end=timedelta(hours=1))) is not None
    assert classify_refusal(JobError(code=code, message=text)) in Outcome


@given(
    st.lists(st.tuples(ANY_TEXT, CODES, st.booleans(), st.booleans()), min_size=1, max_size=9),
    st.sampled_from(["spot advanced", "on demand advanced"]),
    st.sampled_from(list(Strategy)),
    st.integers(0, 48),
)
def test_no_unknown_text_ends_a_run_that_made_progress(
    answers: list[tuple[str, int, bool, bool]], first: str, strategy: Strategy, hour: int
) -> None:
    """Whatever Vertex AI answers to creates and jobs in the place where the run had made progress, and elsewhere."""
    kind = Provisioning(EVIDENCE[first]["provisioning"])
    if strategy in {Strategy.SPOT, Strategy.ON_DEMAND}:
        kind = Provisioning(strategy)
    attempts = [ended(Outcome.INTERNAL, provisioning=kind, started_at=T0, advanced_at=T0)]
    for number, (text, code, created, started) in enumerate(answers):
        known = Family.of(text) is not None or exit_status(text) is not None or "cancel" in text.lower() or not text
        if known:
            continue
        error = JobError(code=code, message=text)
        name = f"{'spot' if kind is Provisioning.SPOT else 'on demand'} {'ran' if started else 'never ran'}"
        outcome = classify(evidence(name, error)) if created else classify_refusal(error)
        assert outcome
        attempts.append(
            ended(
                outcome,
                provisioning=kind,
                region=("us-central1", "us-east4")[number % 2],
                job="jobs/1" if created else None,
                started_at=T0 if created and started else None,
                error=error,
            )
        )
    action = decide(run(*attempts, strategy=strategy), seen(3.0), after(hours=hour))
    assert not isinstance(action, Close), action


def lived(outcome: Outcome, **changes: Any) -> tuple[list[Attempt], Action]:
    """Play a run whose every attempt has a machine after 5 minutes and ends so 10 minutes later, for two days."""
    attempts: list[Attempt] = []
    now = T0
    while now < after(hours=48):
        action = decide(run(*attempts, **changes), seen(), now)
        if isinstance(action, Close):
            return attempts, action
        if isinstance(action, Submit):
            kind = action.provisioning
            ending = Outcome.INTERNAL if outcome is Outcome.PREEMPTED and kind is Provisioning.ON_DEMAND else outcome
            begun, now = now, now + timedelta(minutes=15)
            attempts.append(
                ended(
                    ending,
                    at=now,
                    intended_at=begun,
                    started_at=begun + timedelta(minutes=5),
                    provisioning=kind,
                    region=action.region,
                )
            )
        else:
            assert isinstance(action, Wait)
            now = max(action.until or now, now + timedelta(minutes=15))
    return attempts, decide(run(*attempts, **changes), seen(), now)


def test_out_of_memory_costs_one_attempt_and_in_words_nobody_knows_a_bounded_number() -> None:
    assert len(lived(Outcome.OUT_OF_MEMORY)[0]) == 1
    for outcome in (Outcome.PREEMPTED, Outcome.INTERNAL, Outcome.UNKNOWN):
        attempts, _ = lived(outcome)
        assert 6 <= len(attempts) <= 30, (outcome, len(attempts))
        assert len([one for one in attempts if one.intended_at < after(hours=12)]) <= 10


@pytest.mark.parametrize("started", [False, True])
def test_three_internal_errors_with_23_hours_of_slack_do_not_end_a_run(started: bool) -> None:
    name = "spot ran" if started else "spot never ran"
    outcome = classify(evidence(name, JobError(code=13, message="Internal error occurred for the current attempt.")))
    assert outcome
    attempts = [ended(outcome, started_at=T0 if started else None)] * 3
    found = decide(run(*attempts, work=timedelta(hours=1)), seen(), after(hours=1))
    assert isinstance(found, Submit), found


def test_the_second_region_is_asked_after_the_refusal_of_the_first() -> None:
    error = JobError(code=400, message='Machine type "a2-highgpu-1g" is not supported.')
    rejected = ended(classify_refusal(error), job=None, error=error)
    action = decide(run(rejected), seen(), T0)
    assert isinstance(action, Submit)
    assert action.region == "us-east4"
    everywhere = [
        replace(rejected, region=region, provisioning=kind)
        for region in ("us-central1", "us-east4")
        for kind in (Provisioning.SPOT, Provisioning.ON_DEMAND)
    ]
    close = decide(run(*everywhere), seen(), T0)
    assert isinstance(close, Close)
    assert close.state is RunState.FAILED
    assert "us-central1: Machine type" in close.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CORPUS["create"][0]["text"].replace("{number}", "12"), ["roles/artifactregistry.reader", "service-12@gcp-sa"]),
        (CORPUS["create"][1]["text"], ["roles/iam.serviceAccountUser", "gcloud iam service-accounts"]),
        (
            "403 SERVICE_DISABLED: the API has not been used in the project of consumer projects/764086051850",
            ["gcloud auth application-default set-quota-project our-project"],
        ),
        ("Permission 'aiplatform.customJobs.create' denied", ["bash infra/bootstrap.sh"]),
    ],
)
def test_a_missing_permission_names_the_grant(text: str, words: list[str]) -> None:
    assert all(word in grant(text, SPEC) for word in words), grant(text, SPEC)
