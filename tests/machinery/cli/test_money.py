"""Test the output of `spot prices` and `spot estimate`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from spot.cli.main import main
from spot.config.load import load, override
from spot.core.run import Provisioning
from spot.google import rest
from spot.pricing.table import FILE, HEADER
from tests.machinery.google.google_catalog import OTHERS, OURS, PATH, pages
from tests.machinery.google.google_server import DENIED, Answer, GoogleServer, google_server
from tests.machinery.spot_toml import GOOD, changed
from tests.paths import PROJECT

HEAD = ",".join(HEADER)
LONG_AGO = "2020-01-01"


@dataclass(frozen=True, slots=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def row(self, name: str) -> list[str]:
        """The cells of a table's line."""
        [line] = [line for line in self.out.splitlines() if line.startswith(name)]
        return re.split(r"  +", line)


Spot = Callable[..., Said]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spot.toml").write_text(GOOD)
    return tmp_path


@pytest.fixture
def spot(folder: Path, capsys: pytest.CaptureFixture[str]) -> Spot:
    def run(verb: str, *arguments: str) -> Said:
        code = main([verb, "--settings", str(folder / "spot.toml"), *arguments])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleServer]:
    with google_server() as server:
        monkeypatch.setenv(rest.ENDPOINT, f"{server.url}/{{api}}")
        yield server


def settings_with(folder: Path, **keys: str) -> None:
    text = GOOD
    for key, value in keys.items():
        text = changed(key.replace("__", "."), value, text)
    (folder / "spot.toml").write_text(text)


def own(folder: Path, *lines: str) -> None:
    (folder / FILE).write_text("\n".join((HEAD, *lines, "")))


def test_prices_are_those_of_the_settings_machine_in_the_settings_regions(spot: Spot) -> None:
    said = spot("prices")

    assert (said.code, said.err) == (0, "")
    assert "$ per hour on Vertex AI: g2-standard-8 with NVIDIA_L4" in said.out
    assert said.row("us-east4") == ["us-east4", "0.978", "0.503", "49 %", "0.027", "2026-07-30"]
    assert said.row("us-central1") == ["us-central1", "0.982", "0.608", "38 %", "0.027", "2026-07-30"]
    assert said.out.index("us-east4") < said.out.index("us-central1")
    assert "europe" not in said.out


def test_the_attached_gpu_and_a_region_without_a_price_are_reported(spot: Spot, folder: Path) -> None:
    settings_with(folder, machine__type='"n1-standard-8"', machine__accelerator='"NVIDIA_TESLA_T4"')

    said = spot("prices")

    assert said.row("us-central1")[1:4] == ["0.839", "0.419", "50 %"]
    assert said.row("us-east4")[-1] == "no price is known"


def test_an_unknown_machine_has_no_price_in_any_region(spot: Spot, folder: Path) -> None:
    settings_with(folder, machine__type='"z9-mega-8"')

    said = spot("prices")
    assert (said.code, said.row("us-east4")) == (0, ["us-east4", "no price is known"])

    said = spot("estimate")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "spot: no price is known for z9-mega-8 with NVIDIA_L4 in us-central1, us-east4 (fix: spot prices --refresh)\n"
    )


def test_prices_as_json_are_everything_that_is_billed(spot: Spot, folder: Path) -> None:
    own(folder, f"g2-standard-8,us-central1,1,0.5,{LONG_AGO}", "pd-ssd,us-central1,0.0001,0.0001,")

    said = spot("prices", "--json").json

    [ours] = [one for one in said["prices"] if one["region"] == "us-central1"]
    assert ours == {
        "region": "us-central1",
        "usd_per_hour": {"spot": 0.6615, "on-demand": 1.1615},
        "disk": 0.0115,
        "dated": LONG_AGO,
    }


@pytest.mark.parametrize("verb", ["prices", "estimate"])
def test_old_prices_are_warned_of_and_new_ones_are_not(verb: str, spot: Spot, folder: Path) -> None:
    today = datetime.now(UTC).date().isoformat()
    for day, warned in ((LONG_AGO, True), (today, False)):
        own(folder, *(f"g2-standard-8,{region},1,0.5,{day}" for region in ("us-central1", "us-east4")))
        assert (f"warning: prices of {day}" in spot(verb).out) is warned
        assert (spot(verb, "--json").json["warning"] is not None) is warned


@pytest.mark.parametrize("verb", ["prices", "estimate"])
def test_a_table_of_the_project_that_is_wrong_is_one_line(verb: str, spot: Spot, folder: Path) -> None:
    own(folder, "g2-standard-8,us-central1,1,free,")

    said = spot(verb)

    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"spot: {folder}/prices.csv, line 2: spot_usd_per_hour is 'free': expected a number of dollars above 0 (fix:"
        " correct the file, or rewrite it with spot prices --refresh)\n"
    )


def test_a_refresh_writes_a_table_of_today_which_every_run_then_goes_by(
    spot: Spot, folder: Path, google: GoogleServer
) -> None:
    dearer = [{**one, "serviceRegions": ["us-central1", "us-west1"]} for one in OURS]
    google.answers[PATH] = [*pages(dearer[:5], dearer[5:], OTHERS)]

    said = spot("prices", "--refresh")

    today = datetime.now(UTC).date().isoformat()
    assert said.code == 0
    assert "prices.csv has the prices of today\n" in said.out
    assert said.row("us-central1") == ["us-central1", "0.982", "0.608", "38 %", "0.027", today]
    assert said.row("us-east4")[-1] == "2026-07-30"
    assert f"g2-standard-8,us-west1,0.853624271,0.479872,{today},," in (folder / FILE).read_text().splitlines()
    assert (
        override(load(folder / "spot.toml"), {"cloud": {"regions": ["us-west1"]}})
        .policy_config()
        .usd_per_hour["us-west1"][Provisioning.SPOT]
        > 0
    )


def test_a_refresh_that_fails_leaves_the_old_prices(spot: Spot, folder: Path, google: GoogleServer) -> None:
    own(folder, f"g2-standard-8,us-central1,1,0.5,{LONG_AGO}")
    before = (folder / FILE).read_text()

    for answer, code in ((DENIED, 2), (Answer({"skus": []}), 75), (Answer({"skus": OTHERS}), 75)):
        google.answers[PATH] = answer
        said = spot("prices", "--refresh")
        assert (said.code, said.out) == (code, "")
        assert said.err.startswith("spot: Google's price catalogue was not read, the old prices stay: ")
        assert said.err.count("\n") == 1
        assert (folder / FILE).read_text() == before


def test_a_refresh_without_credentials_says_how_to_get_some(spot: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(rest.ENDPOINT, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")

    said = spot("prices", "--refresh")

    assert said.code == 2
    assert "no Google Cloud credentials" in said.err
    assert "gcloud auth application-default login" in said.err


def test_an_estimate_is_the_whole_run_by_region_with_what_it_rests_on(spot: Spot) -> None:
    said = spot("estimate", "--work-hours", "10", "--regions", "us-central1,mars-north1,us-east5")

    assert (said.code, said.err) == (0, "")
    assert "10.0 h of work on g2-standard-8 with NVIDIA_L4, a boot disk of 100 GB" in said.out
    assert said.row("us-east5") == ["us-east5", "1.132", "0.267", "$11.40", "$2.82", "75 %", "yes"]
    assert said.row("us-central1") == ["us-central1", "1.008", "0.635", "$10.15", "$6.70", "34 %", "yes"]
    assert said.row("mars-north1") == ["mars-north1", "no price is known", "yes"]
    assert said.out.index("us-east5") < said.out.index("us-central1")
    assert "On spot, 3.3 preemptions are expected, and 10.6 h are billed." in said.out
    assert said.row("time between preemptions")[1:] == ["3.2 h", "16 H100 Spot VMs in October 2025, or --mtbf-hours"]


def test_an_estimate_ranks_every_region_that_has_the_gpu_and_says_what_the_cheapest_saves(spot: Spot) -> None:
    said = spot("estimate", "--work-hours", "10", "--regions", "us-central1,us-east4")
    ranked = [one["region"] for one in spot("estimate", "--json").json["estimates"]]

    assert ranked[0] == "us-east5"
    assert len(ranked) == 9  # of ten with a price: Vertex AI does not train with an L4 in us-west4
    assert "us-west4" not in ranked
    assert "yes" not in said.row("us-east5")
    assert said.row("us-east4")[-1] == "yes"
    assert "Add us-east5 to cloud.regions: a run would cost $2.77 less than in us-east4 (50 %)" in said.out
    assert "Add " not in spot("estimate", "--regions", "us-east5").out


def test_an_estimate_refuses_what_a_submit_would_refuse(spot: Spot, folder: Path) -> None:
    settings_with(folder, machine__type='"a3-highgpu-1g"', machine__accelerator='"NVIDIA_H100_80GB"')
    said = spot("estimate")
    assert (said.code, said.out) == (2, "")
    assert "policy.strategy is hybrid, and a3-highgpu-1g exists on spot and as FLEX_START only" in said.err
    settings_with(
        folder,
        machine__type='"a3-highgpu-1g"',
        machine__accelerator='"NVIDIA_H100_80GB"',
        policy__strategy='"spot"',
    )
    assert spot("estimate").code == 0

    settings_with(folder, machine__count="3", training__batch_size="64")
    (folder / "spot.toml").write_text((folder / "spot.toml").read_text().replace("batch_size", "batch-size"))
    assert "--batch-size 64 cannot be shared evenly by 3 ranks" in spot("estimate").err


def test_the_documentation_shows_what_is_shown(spot: Spot) -> None:
    text = (PROJECT / "docs/costs.md").read_text(encoding="utf-8")
    [(command, block)] = re.findall(r"```\n\$ spot (estimate.*)\n([^`]+)```", text)

    assert spot(*command.split()).out.startswith(block)


def test_an_estimate_as_json_has_the_same_numbers(spot: Spot) -> None:
    said = spot("estimate", "--work-hours", "10", "--regions", "us-central1", "--json").json

    [one] = [one for one in said["estimates"] if one["configured"]]
    assert (one["region"], one["on_demand_usd"], one["spot_usd"], one["saving"]) == (
        *("us-central1", pytest.approx(10.15, abs=0.005)),
        *(pytest.approx(6.70, abs=0.005), pytest.approx(0.339, abs=0.001)),
    )
    assert said["preemptions"] == pytest.approx(3.3, abs=0.01)
    assert (said["work_hours"], said["assumed"]["mtbf_hours"]) == (10, 3.2)


def test_a_loss_is_called_one(spot: Spot, folder: Path) -> None:
    own(folder, f"g2-standard-8,us-central1,1,0.99,{LONG_AGO}")

    assert spot("estimate", "--regions", "us-central1").row("us-central1")[-2].startswith("LOSS ")


@pytest.mark.parametrize("mtbf", ["1", "0.1"])
def test_endless_preemptions_have_no_price(mtbf: str, spot: Spot, folder: Path) -> None:
    settings_with(folder, policy__max_checkpoint_interval_minutes="120")

    shown = spot("estimate", "--mtbf-hours", mtbf)

    assert "On spot the run never ends: no progress between preemptions." in shown.out
    assert len(shown.row("us-central1")) == 5


@pytest.mark.parametrize("regions", ["", "us-central1-a", "us-central1,us-central1"])
def test_wrong_regions_are_one_line(regions: str, spot: Spot) -> None:
    said = spot("estimate", "--regions", regions)

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("spot: command line: cloud.regions")
    assert said.err.count("\n") == 1
