"""Check what the command line says of many GPUs and machines before a job or a record exists."""

from __future__ import annotations

import pytest

from spot.core.errors import Exit
from spot.core.run import Provisioning
from tests.machinery.desk import WEEKLY, Desk

A2 = {
    "cloud.regions": '["us-central1", "us-east1"]',
    "machine.type": '"a2-highgpu-8g"',
    "machine.accelerator": '"NVIDIA_TESLA_A100"',
    "machine.accelerator_count": "8",
    "machine.count": "2",
}


def test_a_dry_run_shows_worker_pools_ranks_the_share_of_a_step_and_the_price_of_all_machines(desk: Desk) -> None:
    desk.settings(A2)

    shown = desk.spot("submit", "--dry-run", "--", "--batch-size", "64")

    assert shown.code == Exit.DONE, shown.err
    text = " ".join(shown.out.split())
    assert "machine 2 x a2-highgpu-8g with 8 x NVIDIA_TESLA_A100, in worker pools of 1 and 1 ranks 16" in text
    assert "ranks 16, each 4 of the 64 samples of a step" in text
    assert "us-central1 spot $39.72/h, on-demand $67.64/h" in text
    assert "/h, all machines together" in text
    assert text.count('"replicaCount": "1"') == 2
    assert desk.objects() == []


def test_a_dry_run_as_json_has_the_machines_and_the_ranks(desk: Desk) -> None:
    desk.settings(A2)

    plan = desk.spot("submit", "--dry-run", "--json").json["plan"]

    assert (plan["machine"]["count"], plan["machine"]["accelerator_count"], plan["ranks"]) == (2, 8, 16)


def test_a_run_on_one_gpu_has_no_line_for_its_rank(desk: Desk) -> None:
    lines = {line.split(" ")[0] for line in desk.spot("submit", "--dry-run").out.splitlines()}

    assert "machine" in lines
    assert "ranks" not in lines


@pytest.mark.parametrize("arguments", [("--dry-run",), ("--force",)], ids=["dry run", "submit"])
def test_a_batch_that_the_ranks_cannot_share_is_refused_and_nothing_is_recorded(
    desk: Desk, arguments: tuple[str, ...]
) -> None:
    desk.settings({**A2, "training.batch-size": "40"})

    refused = desk.spot("submit", *arguments)

    assert refused.code == Exit.USAGE
    assert "--batch-size 40 cannot be shared evenly by 16 ranks (2 x a2-highgpu-8g with 8 x NVIDIA_" in refused.err
    assert desk.objects() == []


def test_a_number_of_gpus_that_the_machine_does_not_have_is_refused(desk: Desk) -> None:
    desk.settings({**A2, "machine.accelerator_count": "4"})

    refused = desk.spot("submit")

    assert refused.code == Exit.USAGE
    assert "machine.accelerator_count is 4: a2-highgpu-8g has 8" in refused.err


def test_prices_and_estimates_are_those_of_all_machines(desk: Desk) -> None:
    desk.settings({"machine.type": '"g2-standard-24"', "machine.accelerator_count": "2", "training.batch-size": "60"})
    alone, hours = (desk.spot(*verb, "--json").json for verb in (("prices",), ("estimate", "--work-hours", "2")))
    desk.settings({"machine.count": "3"})
    together, less = (desk.spot(*verb, "--json").json for verb in (("prices",), ("estimate", "--work-hours", "2")))

    assert together["machine"]["count"] == 3
    for one, three in zip(alone["prices"], together["prices"], strict=True):
        for kind in (Provisioning.SPOT, Provisioning.ON_DEMAND):
            assert three["usd_per_hour"][kind] == pytest.approx(3 * one["usd_per_hour"][kind], abs=1e-5)
    assert less["assumed"]["mtbf_hours"] == pytest.approx(hours["assumed"]["mtbf_hours"] / 3, abs=1e-5)
    assert less["preemptions"] > 3 * hours["preemptions"]
    assert "divided by 3 machines" in desk.spot("estimate").out


def test_a_report_names_the_machines_that_an_hour_pays_for(desk: Desk) -> None:
    alone = desk.spot("prices", "--json").json["prices"][0]["usd_per_hour"]["spot"]
    desk.settings({"machine.count": "2"})
    desk.submit(WEEKLY)

    shown, values = desk.spot("report", WEEKLY), desk.spot("report", WEEKLY, "--json").json

    assert "2 x g2-standard-8 with NVIDIA_L4" in shown.out
    assert values["machine"]["count"] == 2
    assert values["attempts"][0]["usd_per_hour"] == pytest.approx(2 * alone, abs=1e-5)


def test_a_budget_pays_for_half_the_hours_of_twice_the_machines(desk: Desk) -> None:
    def paid_hours() -> float:
        request = desk.spot("submit", "--dry-run", "--budget-usd", "8", "--json").json["request"]
        return float(request["jobSpec"]["scheduling"]["timeout"].removesuffix("s")) / 3600

    alone = paid_hours()
    desk.settings({"machine.count": "2"})
    assert paid_hours() == pytest.approx(alone / 2, rel=0.001)


def test_a_failed_run_is_resumed_on_other_machines_unless_they_cannot_share_its_batch(desk: Desk) -> None:
    desk.submit(WEEKLY)
    desk.checkpoint(WEEKLY, 100, 1000)
    desk.fail(WEEKLY)
    desk.spot("reconcile")
    desk.settings({"machine.count": "2"})

    resumed = desk.spot("resume", WEEKLY, "--dry-run", "--json").json

    assert resumed["plan"]["ranks"] == 2
    assert [pool["replicaCount"] for pool in resumed["request"]["jobSpec"]["workerPoolSpecs"]] == ["1", "1"]

    desk.settings({"machine.count": "3", "training.batch-size": "66"})
    refused = desk.spot("resume", WEEKLY, "--dry-run")
    assert refused.code == Exit.USAGE
    assert "--batch-size 64 cannot be shared evenly by 3 ranks (3 x g2-standard-8 with NVIDIA_L4)" in refused.err
