"""Test the rule of the gate: it never promotes below the threshold, is monotone, and asks where samples are few."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spot.config.settings import GateSettings
from spot.core.evaluation import Evaluation, Measurement
from spot.core.history import Decision
from spot.promotion.rule import GateDecision, GateVerdict, decide, recorded, samples_needed
from tests.machinery.promotion.measured import CHAMPION, alone, evaluation, measured
from tests.machinery.samples import T0, run

KEEP, ASK, PROMOTE = GateVerdict.KEEP, GateVerdict.ASK, GateVerdict.PROMOTE
RANK = {KEEP: 0, ASK: 1, PROMOTE: 2}
GATE = GateSettings()


def decided(found: Evaluation, champion: str | None = CHAMPION, **gate: float) -> GateDecision:
    decision = decide(found, GATE.model_copy(update=gate), champion)
    assert decision
    return decision


def verdict(better: int, worse: int, samples: int) -> GateVerdict:
    return decided(evaluation(measured(better, worse, samples))).verdict


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    samples = draw(st.integers(1, 5000))
    better = draw(st.integers(0, samples))
    worse = draw(st.integers(0, samples - better))
    return measured(better, worse, samples, right=draw(st.integers(0, samples - better - worse)))


@given(measurements(), st.floats(0.001, 1), st.sampled_from([CHAMPION, None]))
def test_no_model_below_the_threshold_is_promoted(judged: Measurement, threshold: float, champion: str | None) -> None:
    assume(judged.score is not None and judged.score < threshold)
    found = evaluation(judged) if champion else alone(judged.score)
    assert decided(found, champion, threshold=threshold).verdict is KEEP


@given(measurements(), st.floats(0.001, 0.2))
def test_no_model_that_loses_is_promoted(judged: Measurement, margin: float) -> None:
    assume((judged.gain or 0) < 0)
    assert decided(evaluation(judged), margin=margin).verdict is KEEP


@given(measurements(), st.floats(0.001, 0.2))
def test_one_more_right_answer_never_makes_the_verdict_worse(judged: Measurement, margin: float) -> None:
    """A sample that only the champion answered right is answered right by both."""
    paired = judged.paired
    assert paired
    worse = round((paired.squares - (judged.gain or 0) * judged.samples) / 2)
    better, right = round(paired.squares) - worse, round(paired.challenger * judged.samples)
    assume(worse > 0)
    now = measured(better, worse - 1, judged.samples, right=right - better + 1)
    ranks = [RANK[decided(evaluation(one), margin=margin).verdict] for one in (judged, now)]
    assert ranks == sorted(ranks)


@given(measurements(), st.floats(0.001, 0.2), st.floats(0.001, 0.2))
def test_a_wider_margin_never_makes_the_verdict_worse(judged: Measurement, one: float, other: float) -> None:
    ranks = [RANK[decided(evaluation(judged), margin=margin).verdict] for margin in sorted((one, other))]
    assert ranks == sorted(ranks)


@given(st.integers(1, 150), st.integers(0, 150))
def test_models_that_answer_few_samples_alike_are_not_promoted_by_themselves(samples: int, right: int) -> None:
    """Also where all answers are right or all are wrong, and the values show no spread."""
    found = evaluation(measured(0, 0, samples, right=min(right, samples)))
    assert decided(found).verdict is ASK
    assert "too few samples to exclude a loss of 0.01, about 1" in decided(found).reason


@given(st.integers(0, 10), st.integers(0, 10), st.integers(20, 100), st.floats(0.001, 0.05))
def test_the_number_of_samples_that_is_named_would_do(worse: int, more_: int, samples: int, margin: float) -> None:
    judged = measured(min(worse + more_, samples - worse), worse, samples)
    assume(decided(evaluation(judged), margin=margin).verdict is ASK)
    needed = samples_needed(judged, margin)
    assert needed
    assert needed > judged.samples
    assert judged.paired
    more = replace(judged.paired, squares=judged.paired.squares * needed / judged.samples)
    assert decided(evaluation(replace(judged, samples=needed, paired=more)), margin=margin).verdict is PROMOTE


@given(measurements(), st.floats(0.001, 0.2))
def test_a_loss_is_judged_as_an_accuracy_with_the_opposite_sign(judged: Measurement, margin: float) -> None:
    assert judged.paired
    assert judged.score is not None
    turned = replace(judged.paired, challenger=-judged.paired.challenger, champion=-judged.paired.champion)
    loss = replace(judged, metric="loss", higher_is_better=False, score=-judged.score, paired=turned)
    for threshold in (judged.score - 0.1, judged.score, judged.score + 0.1):
        one = decided(evaluation(judged), margin=margin, threshold=threshold)
        other = decided(evaluation(loss), margin=margin, threshold=-threshold)
        assert one.verdict is other.verdict


@pytest.mark.parametrize(
    ("better", "worse", "samples", "expected"),
    [
        (20, 2, 1000, PROMOTE),
        (5, 5, 10_000, PROMOTE),
        (2, 2, 100, ASK),
        (2, 3, 100, KEEP),
        (0, 30, 100, KEEP),
        (30, 0, 100, PROMOTE),
    ],
)
def test_verdicts_by_the_answers_that_differ(better: int, worse: int, samples: int, expected: GateVerdict) -> None:
    assert verdict(better, worse, samples) is expected


def test_a_slice_vetoes_on_evidence_of_harm_and_not_on_few_samples() -> None:
    judged = measured(60, 10, 5000)
    few, harmed = measured(0, 1, 20, slice="few"), measured(0, 40, 400, slice="night")
    assert decided(evaluation(judged, few)).verdict is PROMOTE
    decision = decided(evaluation(judged, few, harmed))
    assert decision.verdict is KEEP
    assert decision.reason.startswith("worse on night by more than 0.01: accuracy 0.45 against 0.55 on 400 samples")


def test_a_slice_of_another_metric_has_no_veto() -> None:
    other = measured(0, 40, 400, slice="night", metric="recall")
    assert decided(evaluation(measured(60, 10, 5000), other)).verdict is PROMOTE


def test_the_reason_has_the_numbers() -> None:
    assert decided(evaluation(measured(2, 2, 100))).reason == (
        "too few samples to exclude a loss of 0.01, about 1200 would do: accuracy 0.5 against 0.5 on 100 samples,"
        " gain +0 (95 % bounds -0.03606 and +0.03606), champion 20261101-champion"
    )


def test_without_a_champion_the_first_measured_model_is_promoted() -> None:
    assert decided(alone(), None) == GateDecision(verdict=PROMOTE, reason="accuracy 0.9, and there was no champion")


def test_a_score_that_is_no_number_keeps_the_champion() -> None:
    assert decided(alone(None), None).verdict is KEEP


def test_a_comparison_with_another_model_than_the_champion_asks() -> None:
    assert decided(evaluation(measured(20, 2, 1000)), "20261115-other").verdict is ASK
    assert decided(evaluation(measured(20, 2, 1000)), None).verdict is ASK
    assert decided(alone()).verdict is ASK


def test_a_champion_that_cannot_be_compared_asks_with_the_reason() -> None:
    judged = measured(0, 0, 360, paired=None)
    assert decided(evaluation(judged, problem="it has 32 channels")).reason.endswith(": it has 32 channels")
    assert decided(evaluation(judged)).reason.endswith("no value of accuracy per sample")
    assert decided(evaluation(judged)).verdict is ASK


def test_a_run_that_measured_nothing_asks_only_where_there_is_a_champion() -> None:
    assert decide(None, GATE, None) is None
    decision = decide(None, GATE, CHAMPION)
    assert decision
    assert decision.verdict is ASK


def test_the_recorded_decision_is_that_of_the_gate() -> None:
    of_gate, other = (Decision(at=T0, action=action, reason="") for action in ("ask", "close as succeeded"))
    assert recorded(run(decisions=(other,))) is None
    assert recorded(run(decisions=(other, of_gate))) == of_gate
