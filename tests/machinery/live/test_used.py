"""Test that facts change what a submit pins, what the trainer is started with, and a forecast."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from spot.google.job_spec import custom_job
from spot.simulation.startup_times import StartupRanges
from spot.storage.records import facts
from spot.storage.records.facts import Fact, LiveFacts
from tests.machinery import samples
from tests.machinery.desk import WEEKLY, Desk

MINUTE = timedelta(minutes=1)


def measured(desk: Desk, **minutes: float) -> None:
    now = datetime.now(UTC)
    found = {
        name.replace("_", "-"): Fact(value="", at=now, as_assumed=True, seconds=value * 60)
        for name, value in minutes.items()
    }
    facts.update(desk.store(), lambda _: LiveFacts(facts=found))


def test_a_submit_pins_what_was_measured_and_later_facts_change_no_open_run(desk: Desk) -> None:
    measured(desk, start_gpu=3, start_on_demand=40, error_lag=4, cancel_grace=0.1)
    desk.submit(WEEKLY)
    measured(desk, start_gpu=90)
    desk.spot("reconcile")
    policy = desk.run(WEEKLY).spec.policy
    assert (policy.expected_start, policy.worst_start) == (9 * MINUTE, 56 * MINUTE)
    assert (policy.error_lag, policy.grace) == (8 * MINUTE, MINUTE / 10)


def test_a_stated_start_stays(desk: Desk) -> None:
    measured(desk, start_gpu=3)
    desk.settings({"policy.expected_start_minutes": "30"})
    desk.submit(WEEKLY)
    assert desk.run(WEEKLY).spec.policy.expected_start == 30 * MINUTE


def test_a_forecast_starts_machines_as_slowly_as_measured(desk: Desk) -> None:
    before = desk.spot("forecast", "--replays", "5")
    measured(desk, start_gpu=35)
    after = desk.spot("forecast", "--replays", "5")
    assert "5-15 min on spot" in " ".join(before.out.split())
    assert "5-35 min on spot" in " ".join(after.out.split())
    assert StartupRanges.of(samples.POLICY, 2.5 * MINUTE).spot == (3, 15)


def test_the_trainer_is_told_a_short_grace_unless_a_flag_states_it() -> None:
    run = samples.run(samples.attempt(), grace=timedelta(seconds=6.5), arguments=("--grace", "4"))
    arguments = custom_job(run, run.attempts[0])["job_spec"]["worker_pool_specs"][0]["container_spec"]["args"]
    assert arguments[:4] == ["--grace", "6.5", "--grace", "4"], "of two equal flags the last one counts"
    assert "--grace" not in str(custom_job(samples.run(samples.attempt()), samples.attempt()))
