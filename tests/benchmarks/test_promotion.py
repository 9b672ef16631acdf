"""Test the simulation of retrainings under the gate and simpler rules."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.promotion import ALWAYS, CREEP, OURS, SAMPLES, STEADY, Outcome, World, promises, sampled, simulated

YEARS = 4


def test_a_sample_shows_the_true_gain_on_average() -> None:
    rng = np.random.default_rng(0)
    gains = [sampled(0.91, 0.90, 2000, rng).gain or 0 for _ in range(200)]
    assert np.mean(gains) == pytest.approx(0.01, abs=0.001)


def test_without_a_gate_every_model_is_promoted_and_some_do_harm() -> None:
    found = simulated(STEADY, ALWAYS, SAMPLES[0], YEARS)
    assert found.promotions == 52
    assert found.harmful > 2


def test_the_same_years_give_the_same_outcome() -> None:
    assert simulated(CREEP, OURS, SAMPLES[0], YEARS) == simulated(CREEP, OURS, SAMPLES[0], YEARS)


def test_a_rule_that_lets_quality_creep_down_breaks_a_promise() -> None:
    perfect = Outcome(promotions=0, harmful=0, quality=0.95, end=0.95)
    harmful = Outcome(promotions=52, harmful=1, quality=0.8, end=0.8)

    def of(_world: World, rule: str, _samples: int) -> Outcome:
        return perfect if rule == OURS else harmful

    assert all(holds for _, holds in promises(of))
    assert [holds for _, holds in promises(lambda *_: harmful)] == [False, False, False, True, False]
