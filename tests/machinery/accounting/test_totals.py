"""Test totals of many runs; unknown prices are left out and counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spot.accounting.cost import Account, Totals, Verdict
from spot.report import wording as words
from tests.machinery import sample_runs, samples
from tests.machinery.samples import after


def totals(*accounts: Account) -> Totals:
    return Totals(since=after(), until=after(hours=60), accounts=accounts, skipped=())


def unpriced() -> Account:
    calm = sample_runs.calm()
    return replace(calm, run=replace(calm.run, spec=samples.spec(usd_per_hour={}))).account


def test_money_and_its_comparison_are_added_up() -> None:
    found = totals(sample_runs.calm().account, sample_runs.loss().account)
    assert found.usd == pytest.approx(5.2 + 16.45)
    assert found.usd_saved == pytest.approx(found.usd_on_demand - found.usd)
    assert found.is_loss
    assert words.total_headline(found) == "LOSS: $21.65 for 2 runs, 5 % more than on-demand"
    assert words.total_headline(totals(sample_runs.calm().account)) == "$5.20 for 1 run, 50 % less than on-demand"


def test_a_run_of_no_known_price_is_counted_and_left_out_of_the_money() -> None:
    found = totals(sample_runs.calm().account, unpriced())
    assert (len(found.accounts), len(found.priced)) == (2, 1)
    assert dict(words.total_facts(found))["cost"] == "at most $5.20, without 1 run of unknown price"
    assert words.total_headline(totals(unpriced())) == "Cost unknown: every run lacks a price"


def test_deadlines_preemptions_and_goodput_are_of_all_runs() -> None:
    found = totals(*(sample_runs.SAMPLE_RUNS[name]().account for name in ("calm", "preempted", "late", "failed")))
    assert [found.count(verdict) for verdict in (Verdict.MET, Verdict.MISSED, Verdict.NO_MODEL)] == [2, 1, 1]
    assert found.preemptions == 6
    facts = dict(words.total_facts(found))
    assert facts["deadlines"] == "2 met, 1 MISSED, 1 without a model"
    assert facts["goodput"] == "92 % of 35.5 h billed"


def test_what_failed_runs_cost_is_not_made_up_for_by_what_on_demand_would_have() -> None:
    failed, calm = sample_runs.failed().account, sample_runs.calm().account
    found = totals(failed, calm)
    assert found.usd_on_demand == pytest.approx(calm.on_demand.usd if calm.on_demand else 0)
    assert words.total_headline(found) == "$6.31 for 2 runs, 39 % less than on-demand"
    assert words.total_headline(totals(failed, failed)) == "LOSS: $2.22 for 2 runs and no model"


def test_runs_that_never_had_a_machine_cost_nothing_and_are_no_loss() -> None:
    found = totals(sample_runs.untouched().account)
    assert (found.usd, found.is_loss, found.goodput) == (0, False, None)
    assert words.total_headline(found) == "$0.00 for 1 run: no machine ran"
