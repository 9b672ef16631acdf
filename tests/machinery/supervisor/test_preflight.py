"""Test that a run that would lose work or exceed its limits is refused: one line with the numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core.run import Machine, Observation, Provisioning, Strategy
from spot.policy.offers import Offers
from spot.policy.slack import Slack
from spot.supervisor.preflight import budget_note, error, notes, warnings
from tests.machinery import samples

PRICES = {
    "us-central1": {Provisioning.SPOT: 0.5, Provisioning.FLEX_START: 0.6, Provisioning.ON_DEMAND: 1.0},
    "us-east4": {Provisioning.SPOT: 0.4, Provisioning.FLEX_START: 0.6, Provisioning.ON_DEMAND: 1.2},
}


def lines(*arguments: str, save_s: float | None = None, **changes: Any) -> list[str]:
    save = None if save_s is None else timedelta(seconds=save_s)
    regions = {"regions": ("us-central1",)} if "machine" in changes else {}  # where every GPU is
    run = samples.run(arguments=arguments, **{"usd_per_hour": PRICES, **regions, **changes})
    return [*filter(None, [error(run)]), *warnings(run, save)]


def test_a_good_run_is_not_refused() -> None:
    assert lines("--epochs", "20", "--checkpoint-interval", "300", save_s=1, budget_usd=50.0) == []


@pytest.mark.parametrize(
    ("grace", "save_s", "said"),
    [
        pytest.param(None, 14.2, None, id="it just fits"),
        pytest.param(None, 14.3, "a preemption leaves 14.2 s: --grace 15, minus 5 % to exit", id="not quite"),
        pytest.param(None, 14.3, "Set --grace to 16", id="a longer grace would do"),
        pytest.param("20", 18.9, None, id="a grace of one's own"),
        pytest.param("20", 19.1, "Set --grace to 21", id="and one too short"),
        pytest.param("60", 28.6, "leaves 28.5 s: ", id="no grace is longer than Compute Engine's"),
        pytest.param("60", 28.6, "Make the checkpoint smaller", id="so that none would do"),
        pytest.param(None, None, None, id="nobody has said how long it takes"),
    ],
)
def test_a_save_that_takes_longer_than_the_grace_is_refused(
    grace: str | None, save_s: float | None, said: str | None
) -> None:
    found = lines(*(("--grace", grace) if grace else ()), save_s=save_s)

    assert len(found) == (said is not None)
    if said:
        assert said in found[0]
        assert f"a save takes {save_s:g} s (policy.save_seconds)" in found[0]


def test_a_grace_that_is_advised_is_enough() -> None:
    assert lines("--grace", "16", save_s=14.3) == []


def test_an_interval_over_the_useful_one_is_refused_with_what_it_wastes() -> None:
    [line] = lines("--checkpoint-interval", "1800", max_checkpoint_interval=timedelta(minutes=45))

    assert line == (
        "--checkpoint-interval 1800: a preemption every 3.2 h would cost 8 % of the training, half an interval each."
        " Use at most 600 seconds (3 %), or auto"
    )


@pytest.mark.parametrize(
    ("changes", "save_s"),
    [
        pytest.param({"strategy": Strategy.ON_DEMAND}, None, id="nobody takes the machine away"),
        pytest.param({"arguments": ("--grace", "600")}, 1200.0, id="auto would take as long a one for such a save"),
        pytest.param({"interval": "600"}, None, id="the longest useful one"),
        pytest.param({"interval": "auto"}, None, id="auto"),
    ],
)
def test_an_interval_that_is_of_use_is_not_refused(changes: dict[str, Any], save_s: float | None) -> None:
    arguments = ("--checkpoint-interval", changes.pop("interval", "1800"), *changes.pop("arguments", ()))
    found = lines(*arguments, save_s=save_s, max_checkpoint_interval=timedelta(minutes=45), **changes)

    assert [line for line in found if "interval" in line] == []


def test_a_budget_that_cannot_pay_for_the_work_on_spot_is_refused_with_both_costs() -> None:
    [line] = lines(budget_usd=3.99)

    assert line == (
        "a budget of $3.99 does not pay for 10.0 h of work and a start of 4 min: at least $4.03 on spot in us-east4 and"
        " $10.07 on demand in us-central1, without a preemption. Raise --budget-usd, or correct policy.work_hours"
    )


@pytest.mark.parametrize(
    ("strategy", "budget", "said"),
    [
        (Strategy.SPOT, 3.9, ": at least $4.03 on spot in us-east4, without"),
        (Strategy.ON_DEMAND, 10.0, ": at least $10.07 on demand in us-central1, without"),
        (Strategy.HYBRID, 4.0, ": at least $4.03 on spot in us-east4 and $10.07"),
        (Strategy.SPOT, 4.03, None),
        (Strategy.HYBRID, 4.03, None),
        (Strategy.ON_DEMAND, 10.07, None),
    ],
)
def test_the_budget_is_measured_by_what_may_run(strategy: Strategy, budget: float, said: str | None) -> None:
    found = lines(strategy=strategy, budget_usd=budget)

    assert len(found) == (said is not None)
    assert (said or "") in "".join(found)


def test_a_budget_without_a_known_price_is_refused() -> None:
    [line] = lines(budget_usd=50.0, regions=("us-east4", "us-west1"))

    assert line == (
        "a budget of $50.00 cannot be enforced: no price is known for g2-standard-8 with NVIDIA_L4 in us-west1."
        " Omit the budget, or choose other --regions"
    )
    assert lines(budget_usd=50.0, usd_per_hour={}) != []
    assert lines(budget_usd=None, usd_per_hour={}) == []


def test_flex_start_needs_a_price_only_where_it_is_tried() -> None:
    prices = {"us-east4": {Provisioning.SPOT: 0.4, Provisioning.ON_DEMAND: 1.2}}

    assert lines(budget_usd=50.0, regions=("us-east4",), usd_per_hour=prices) == []
    assert "no price is known" in lines(budget_usd=50.0, regions=("us-east4",), usd_per_hour=prices, flex_start=True)[0]


@pytest.mark.parametrize(
    ("count", "arguments", "said"),
    [
        (1, (), None),
        (2, ("--batch-size", "64"), None),
        (2, ("--batch-size", "64", "--accumulate", "4"), None),
        (2, (), None),
        (3, (), "--batch-size 64 cannot be shared evenly by 24 ranks (3 x a2-highgpu-8g with 8 x NVIDIA_TESLA_A100)"),
        (3, (), ": use 72"),
        (2, ("--batch-size", "64", "--accumulate", "8"), "by 16 ranks in 8 forward passes each ("),
        (2, ("--batch-size", "64", "--accumulate", "8"), ": use 128"),
        (1, ("--batch-size", "4"), "by 8 ranks (a2-highgpu-8g"),
        (1, ("--batch-size", "4"), ": use 8"),
        (2, ("--ranks", "8"), None),
        (2, ("--ranks", "9"), "by 18 ranks ("),
        (2, ("--ranks", "4"), "--ranks uses 8 of the 16 GPUs of 2 x a2-highgpu-8g with 8 x NVIDIA_TESLA_A100, and all"),
        (2, ("--parallel", "ddp"), None),
        (
            2,
            ("--parallel", "none"),
            "--parallel none trains on one rank, and 2 x a2-highgpu-8g with 8 x NVIDIA_TESLA_A",
        ),
    ],
)
def test_a_step_that_the_ranks_cannot_share_is_refused(
    count: int, arguments: tuple[str, ...], said: str | None
) -> None:
    machine = Machine(
        count=count, type="a2-highgpu-8g", accelerator="NVIDIA_TESLA_A100", accelerator_count=8, boot_disk_gb=100
    )
    found = lines(*arguments, machine=machine)

    assert len(found) == (said is not None)
    assert (said or "") in "".join(found)


@given(count=st.integers(1, 5), gpus=st.integers(0, 8), samples_=st.integers(1, 300), passes=st.integers(1, 4))
def test_every_batch_size_that_a_refusal_advises_is_accepted(count: int, gpus: int, samples_: int, passes: int) -> None:
    gpu = "NVIDIA_TESLA_T4" if gpus else None
    machine = Machine(count=count, type="n1-standard-8", accelerator=gpu, accelerator_count=gpus, boot_disk_gb=100)

    def said(size: int) -> list[str]:
        return lines("--batch-size", str(size), "--accumulate", str(passes), machine=machine)

    for line in said(samples_ * passes):
        advised = re.findall(r"\d+", line.rpartition(": use ")[2])
        assert advised
        assert not any(said(int(size)) for size in advised)


@pytest.mark.parametrize("count", [1, 2])
def test_flex_start_is_refused_with_a_gpu_that_it_does_not_have(count: int) -> None:
    t4 = Machine(
        count=count, type="n1-standard-8", accelerator="NVIDIA_TESLA_T4", accelerator_count=1, boot_disk_gb=100
    )
    [line] = lines(machine=t4, flex_start=True)

    assert line.endswith(f"not {'2 x ' if count > 1 else ''}n1-standard-8 with NVIDIA_TESLA_T4: set it to false")
    assert lines(machine=t4) == []
    assert lines(flex_start=True) == []


def test_a_small_a3_is_refused_unless_the_strategy_is_spot() -> None:
    a3 = Machine(type="a3-highgpu-1g", accelerator="NVIDIA_H100_80GB", accelerator_count=1, boot_disk_gb=100)
    for strategy in (Strategy.HYBRID, Strategy.ON_DEMAND):
        [line] = lines(machine=a3, strategy=strategy)
        assert line.startswith(
            f"policy.strategy is {strategy}, and a3-highgpu-1g exists on spot and as FLEX_START only"
        )
    assert lines(machine=a3, strategy=Strategy.SPOT) == []


def test_a_region_whose_training_lacks_the_gpu_is_refused_with_the_regions_that_have_it() -> None:
    t4 = Machine(type="n1-standard-8", accelerator="NVIDIA_TESLA_T4", accelerator_count=1, boot_disk_gb=100)
    [line] = lines(machine=t4, regions=("us-central1", "us-east4"))
    assert line.startswith("Vertex AI does not train with NVIDIA_TESLA_T4 in us-east4, as far as is known, but in us-")
    assert lines(machine=t4, regions=("us-central1",)) == []


def test_an_interval_is_judged_by_the_preemptions_of_all_machines() -> None:
    machine = replace(samples.SPEC.machine, count=4)
    [line] = lines("--checkpoint-interval", "900", machine=machine)

    assert line.startswith("--checkpoint-interval 900: a preemption every 48 min would cost 16 % of the training")


def test_several_reasons_are_a_line_each() -> None:
    found = lines("--checkpoint-interval", "900", save_s=20, budget_usd=0.5)

    assert [line.split()[0] for line in found] == ["a", "--checkpoint-interval", "a"]
    assert all("\n" not in line for line in found)


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"budget_usd": 5.0}, True),
        ({"budget_usd": 3.0}, False),
        ({"budget_usd": 10.41}, False),
        ({"budget_usd": None}, False),
        ({"budget_usd": 5.0, "strategy": Strategy.SPOT}, False),
        ({"budget_usd": 5.0, "usd_per_hour": {}}, False),
    ],
)
def test_a_budget_that_pays_for_spot_alone_is_warned_of(changes: dict[str, Any], warned: bool) -> None:
    warning = budget_note(samples.run(**{"usd_per_hour": PRICES, **changes}))

    assert (warning is not None) is warned
    if warning:
        assert warning == (
            "a budget of $5.00 pays for 10.0 h of work and a start of 4 min on spot ($4.03 in us-east4), not for the"
            " work and an on-demand start of 24 min ($10.40 in us-central1): without spot capacity the run ends with"
            " no model"
        )


def test_a_region_without_a_price_is_warned_of() -> None:
    assert notes(samples.run(usd_per_hour=PRICES)) == []
    [line] = notes(samples.run(usd_per_hour=PRICES, regions=("us-central1", "us-centrall1")))
    assert line == (
        "no price is known for g2-standard-8 with NVIDIA_L4 in us-centrall1: check the machine with spot"
        " doctor, or fetch prices with spot prices --refresh"
    )


@pytest.mark.parametrize("budget", [4.1, 9.0, 10.07, 10.39, 10.4, 10.41, 12.5, 20.0])
def test_a_budget_is_warned_of_just_where_the_policy_would_not_fall_back_to_on_demand(budget: float) -> None:
    run = samples.run(usd_per_hour=PRICES, budget_usd=budget)
    falls_back = Offers.of(run, Slack.of(run, Observation(), samples.T0)).on_demand_can_finish

    assert bool(budget_note(run)) is not falls_back
