"""Test which assumptions of the policy a measured time replaces, and which it can only make safer."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spot.core.run import PolicyConfig
from spot.policy import calibrate
from spot.policy.calibrate import LONGEST_START, RESTORE, spot_start
from spot.storage.records.facts import Fact, LiveFacts, Preemption
from tests.machinery import samples
from tests.machinery.samples import POLICY, T0

MINUTE = timedelta(minutes=1)


def measured(**minutes: float) -> LiveFacts:
    found = {name.replace("_", "-"): value * 60 for name, value in minutes.items()}
    return LiveFacts(
        facts={name: Fact(value="", at=T0, as_assumed=True, seconds=value) for name, value in found.items()}
    )


def calibrated(known: LiveFacts, stated: Collection[str] = ()) -> PolicyConfig:
    return calibrate.calibrated(samples.run(), known, stated).spec.policy


def test_without_facts_nothing_changes() -> None:
    assert calibrated(LiveFacts()) == POLICY


def test_the_start_of_the_gpu_counts_before_that_of_a_machine_without() -> None:
    assert calibrated(measured(start_spot=3)).expected_start == 3 * MINUTE + RESTORE
    assert calibrated(measured(start_spot=3, start_gpu=9)).expected_start == 9 * MINUTE + RESTORE


def test_one_quick_start_on_demand_is_no_worst_case_but_a_slow_one_is() -> None:
    assert calibrated(measured(start_on_demand=3)) == POLICY
    assert calibrated(measured(start_on_demand=40)).worst_start == 56 * MINUTE


def test_a_late_error_is_waited_for() -> None:
    assert calibrated(measured(error_lag=1)) == POLICY
    assert calibrated(measured(error_lag=4)).error_lag == 8 * MINUTE


def test_a_short_grace_is_kept_and_a_long_one_is_no_promise() -> None:
    assert calibrated(measured(cancel_grace=0.1)).grace == 6 * timedelta(seconds=1)
    assert calibrated(measured(cancel_grace=0.5)).grace is None


def test_a_key_that_spot_toml_states_stays() -> None:
    known = measured(start_spot=3, start_on_demand=40)
    assert calibrated(known, {"expected_start_minutes", "worst_start_minutes"}) == POLICY


@given(
    st.dictionaries(
        st.sampled_from(["start-spot", "start-gpu", "start-on-demand", "error-lag", "cancel-grace"]), st.floats(0, 1e9)
    )
)
def test_no_record_makes_the_deadline_less_safe_or_a_run_wait_for_ever(seconds: dict[str, float]) -> None:
    known = measured(**{name: value / 60 for name, value in seconds.items()})
    found = calibrated(known)
    assert found.worst_start >= POLICY.worst_start
    assert found.error_lag >= POLICY.error_lag
    assert found.error_lag <= 60 * MINUTE
    assert found.expected_start <= LONGEST_START + RESTORE
    assert found.worst_start <= 3 * 60 * MINUTE
    assert (spot_start(known) or MINUTE) <= LONGEST_START
    assert found.grace is None or found.grace >= timedelta(seconds=2)
    assert (
        replace(
            found, **{name: getattr(POLICY, name) for name in ("expected_start", "worst_start", "error_lag", "grace")}
        )
        == POLICY
    )


def test_a_save_on_sigterm_counts_as_often_as_preemptions_showed_it_and_never_without_one() -> None:
    def preempted(number: int, *, saved: float | None, signal: float | None) -> Preemption:
        job = f"projects/1/locations/us-central1/customJobs/{number}"
        saved_at, signal_at = (None if one is None else T0 + one * MINUTE for one in (saved, signal))
        common: dict[str, Any] = {"job": job, "ended_at": T0 + 9 * MINUTE, "code": 9, "text": "", "lag": MINUTE}
        return Preemption(**common, saved_at=saved_at, signal_at=signal_at)

    assert calibrated(LiveFacts()).saved_share == 0
    lost = preempted(1, saved=2, signal=None), preempted(2, saved=2, signal=9), preempted(3, saved=None, signal=9)
    assert calibrated(LiveFacts(preemptions=lost)).saved_share == 0
    kept = tuple(preempted(number, saved=8.8, signal=9) for number in range(4, 10))
    assert calibrated(LiveFacts(preemptions=(*lost, *kept))).saved_share == 0.6
