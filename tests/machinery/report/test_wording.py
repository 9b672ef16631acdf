"""Test the headline and the facts of a report."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from spot.accounting.cost import Account, Totals
from spot.accounting.phases import Phase
from spot.core.run import Provisioning, RunState
from spot.report import wording as words
from tests.machinery import sample_runs, samples
from tests.machinery.samples import after, attempt, run


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("calm", "$5.20, 50 % less than on-demand"),
        ("loss", "LOSS: $16.45, 60 % more than on-demand"),
        ("late", "$10.30, same as on-demand"),
        ("open", "$2.54 so far, 42 % less than on-demand"),
        ("failed", "LOSS: $1.11 and no model"),
        ("untouched", "$0.00: no machine ran"),
    ],
)
def test_the_headline_is_what_it_cost_and_how_that_compares(name: str, text: str) -> None:
    account = sample_runs.SAMPLE_RUNS[name]().account
    assert words.headline(account) == text
    assert account.is_loss is text.startswith("LOSS")


def test_a_failure_without_a_step_is_money_lost() -> None:
    failed = sample_runs.failed()
    nothing = replace(failed.run.attempts[0], advanced_at=None, saved_at=None)
    found = words.headline(replace(failed, run=replace(failed.run, attempts=(nothing,)), seen=None).account)
    assert found == "LOSS: $1.11 and no model"


def test_an_open_run_before_its_first_step_has_made_no_loss_yet() -> None:
    begun = sample_runs.SampleRun(run=run(attempt(started_at=after())), seen=None, now=after(minutes=6))
    assert words.headline(begun.account) == "$0.05 so far, no useful step"
    assert not begun.account.is_loss


def test_a_missing_price_is_reported() -> None:
    calm = sample_runs.calm()
    spec = replace(calm.run.spec, policy=samples.policy(usd_per_hour={}))
    account = replace(calm, run=replace(calm.run, spec=spec)).account
    assert words.headline(account) == "Cost unknown: a price is missing"
    facts = dict(words.facts(account))
    assert facts["cost"] == "unknown: no price for the billed hours"
    assert facts["on-demand"] == "unknown: no price"


def test_the_facts_say_the_numbers_that_the_headline_rests_on() -> None:
    facts = dict(words.facts(sample_runs.handed_over().account))
    assert facts["deadline"] == "2026-11-25 00:00 UTC, met by 3.9 h"
    assert facts["cost"] == "at most $8.33"
    assert facts["on-demand"] == "$10.61: 10.6 h for the same steps, at $1.00/h in us-central1"
    assert facts["wall clock"] == "20.1 h from submit to the model, 9.3 h without a machine"
    assert facts["goodput"] == "88 % of 11.6 h billed"
    assert facts["interruptions"] == "1 preemption, 1 hand-over, 9 without capacity; 12 attempts"


def test_a_loss_is_called_one_in_a_table() -> None:
    assert words.saved(sample_runs.loss().account) == "LOSS 60 %"


def test_a_difference_of_less_than_a_hundredth_is_none_everywhere() -> None:
    late = dearer_by(0.005)
    assert words.headline(late) == "$10.30, same as on-demand"
    assert words.saved(late) == "0 %"
    totals = Totals(since=after(), until=after(hours=60), accounts=(late,), skipped=())
    assert words.total_headline(totals) == "$10.30 for 1 run, same as on-demand"


def dearer_by(share: float) -> Account:
    """On demand from the beginning, in a region that costs so much more than another one of the run's."""
    late = sample_runs.late()
    prices = {region: {Provisioning.ON_DEMAND: usd} for region, usd in (("us-central1", 1.0), ("us-east4", 1 - share))}
    return replace(late, run=replace(late.run, spec=samples.spec(usd_per_hour=prices))).account


def test_the_cost_of_a_run_without_a_model_is_a_loss_everywhere() -> None:
    failed = sample_runs.failed().account
    facts = dict(words.facts(failed))
    assert facts["on-demand"] == "not comparable: no model"
    assert words.saved(failed) == "LOSS"


def test_a_missed_deadline_is_shown_with_the_delay() -> None:
    late = sample_runs.late().account
    assert words.deadline(late) == "LATE by 1.9 h"
    open_run = sample_runs.open_run()
    assert words.deadline(replace(open_run, now=after(hours=25)).account) == "LATE by 60 min"


def test_a_model_whose_job_has_not_ended_is_there_and_not_missed_so_far() -> None:
    open_run = sample_runs.open_run()
    assert open_run.seen
    for hour, deadline in ((23, "met by 60 min"), (25, "LATE by 60 min")):
        complete = replace(open_run, seen=replace(open_run.seen, completed_at=after(hours=hour)), now=after(hours=25.2))
        assert words.deadline(complete.account) == deadline
        assert words.state(complete.account).startswith("open, model complete since 2026-11-2")
        assert words.wall(complete.account).startswith(f"{hour}.0 h from submit to the model, ")


def test_a_run_without_a_model_names_the_reason_and_the_user() -> None:
    facts = dict(words.facts(sample_runs.untouched().account))
    assert facts["state"] == "cancelled by ann <ann@example.com>, 2026-11-24 00:06 UTC"
    assert facts["why"] == "a last word | <i>of</i> cancelled"
    assert facts["deadline"].endswith("cancelled")


def test_each_phase_has_a_meaning() -> None:
    assert set(words.MEANING) == set(Phase)


def test_a_small_amount_is_not_rounded_to_a_loss() -> None:
    assert (words.usd(1234.5), words.usd(-2), words.usd(-0.001)) == ("$1,234.50", "-$2.00", "$0.00")


def test_a_cancelled_run_is_no_failure() -> None:
    failed = sample_runs.failed()
    cancelled = replace(failed, run=replace(failed.run, state=RunState.CANCELLED)).account
    assert words.deadline(cancelled) == "cancelled"
    assert cancelled.to_spare is None
    assert cancelled.wall == timedelta(hours=2.5)
