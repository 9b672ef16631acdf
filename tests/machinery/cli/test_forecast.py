"""Test `spot forecast`: it replays the run of the settings in measured capacity, or refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from spot.cli.main import main
from tests.machinery.spot_toml import GOOD, changed

FEW = ("--replays", "6")


class Desk:
    """A project's folder, and what `spot forecast` says there."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.settings(GOOD)

    def settings(self, text: str) -> None:
        (self.folder / "spot.toml").write_text(text)

    def trace(self, *rows: str) -> str:
        path = self.folder / "trace.csv"
        path.write_text("\n".join(["time,us-central1-a,us-east4-b", *rows, ""]))
        return str(path)

    def says(self, *arguments: str, code: int = 0) -> str:
        """On standard output; for a refusal the line on standard error."""
        assert main(["forecast", "--settings", str(self.folder / "spot.toml"), *arguments]) == code
        out, err = self._capsys.readouterr()
        return out if code == 0 else err.splitlines()[-1]

    def document(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.says("--json", *arguments))
        return found


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_it_forecasts_the_run_of_the_settings_and_what_the_flags_put_over_it(desk: Desk) -> None:
    found = desk.document(*FEW)
    assert (found["work_hours"], found["deadline_hours"], found["regions"]) == (1, 12, ["us-central1", "us-east4"])
    flags = ["--work-hours", "2", "--deadline-hours", "20", "--regions", "us-east4", "--strategy", "spot"]
    found = desk.document(*FEW, *flags)
    assert (found["work_hours"], found["deadline_hours"], found["regions"]) == (2, 20, ["us-east4"])
    assert found["strategy"] == "spot"


def test_json_has_every_replay_of_everyone_on_the_same_windows(desk: Desk) -> None:
    (case,) = desk.document(*FEW)["cases"]
    starts = [
        [one["from"] for one in case[who]["replays"]] for who in ("policy", "on_demand_only", "fixed_spot_window")
    ]
    assert len(starts[0]) == 6
    assert starts[0] == starts[1] == starts[2]
    assert case["policy"]["usd"]["mean"] == pytest.approx(
        sum(one["usd"] for one in case["policy"]["replays"]) / 6, abs=1e-3
    )
    assert case["policy"]["late_upper_bound"] == pytest.approx(3 / case["policy"]["independent"], abs=1e-3)
    assert 3 <= case["policy"]["independent"] <= 6


def test_the_same_seed_gives_the_same_forecast_and_another_one_another(desk: Desk) -> None:
    one, again, other = (desk.document(*FEW, "--seed", seed)["cases"] for seed in "334")
    assert one == again != other


def test_people_get_a_headline_numbers_and_a_picture(desk: Desk) -> None:
    text = desk.says(*FEW)
    assert "Expect $" in text
    assert "note      no capacity was measured for NVIDIA_L4: that of NVIDIA_H100_80GB is used" in text
    assert "│" in text


def test_the_picture_is_written_where_it_is_asked_for(desk: Desk) -> None:
    path = desk.folder / "forecast.svg"
    desk.says(*FEW, "--svg", str(path))
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
    said = desk.says(*FEW, "--svg", "/none/a.svg", code=2)
    assert "--svg '/none/a.svg' cannot be written: No such file or directory" in said


def test_a_sweep_of_deadlines_shows_what_patience_buys(desk: Desk) -> None:
    cases = desk.document(*FEW, "--work-hours", "8", "--sweep", "deadline")["cases"]
    found = [(case["deadline_hours"], case["policy"]["usd"]["mean"]) for case in cases]
    assert [hours for hours, _ in found] == sorted(hours for hours, _ in found)
    assert 12 in [hours for hours, _ in found]
    assert found[-1][1] < found[0][1]


def test_a_sweep_of_regions_tries_each_alone_and_them_together(desk: Desk) -> None:
    cases = desk.document(*FEW, "--sweep", "regions")["cases"]
    assert [case["label"] for case in cases] == ["us-central1", "us-east4", "us-central1 + us-east4"]


def test_capacity_can_be_a_file_of_ones_own(desk: Desk) -> None:
    day = [f"2026-01-0{day}T{hour:02}:00:00Z,{cells}" for day, cells in ((1, "1,0"), (2, "0,0")) for hour in range(24)]
    found = desk.document(*FEW, "--trace", desk.trace(*day), "--regions", "us-central1")
    assert found["capacity"].endswith("trace.csv")
    assert found["notes"][:1] != ["no capacity was measured for NVIDIA_L4: that of NVIDIA_H100_80GB is used"]


def test_capacity_can_be_generated(desk: Desk) -> None:
    found = desk.document(*FEW, "--mtbf-hours", "2", "--outage-minutes", "30", "--work-hours", "6")
    assert found["capacity"] == "generated: 2 h up and 30 min down on average, both exponential"
    assert found["cases"][0]["policy"]["preemptions"] > 0.5


def test_flex_start_is_left_out_with_a_note(desk: Desk) -> None:
    desk.settings(changed("policy.flex_start", "true"))
    assert any("FLEX_START is left out" in note for note in desk.document(*FEW)["notes"])


def test_a_budget_is_kept_and_its_possible_effect_is_reported(desk: Desk) -> None:
    desk.settings(changed("policy.budget_usd", "0.9"))
    found = desk.document(*FEW)
    assert any("a budget of $0.90 pays for" in note for note in found["notes"])
    assert all(one["usd"] <= 0.9 for one in found["cases"][0]["policy"]["replays"])


BAD = {
    "no such file": (["--trace", "none.csv"], "none.csv: No such file or directory"),
    "a folder": (["--trace", "/"], "/: cannot be read (Is a directory)"),
    "no such region": (["--regions", "mars"], "cloud.regions[0] is 'mars': a list of 1 to 20 regions, not zones"),
    "no price": (["--regions", "europe-west2"], "no price is known for g2-standard-8 with NVIDIA_L4 in europe-west2"),
    "too tight": (["--work-hours", "11.9"], "11.9 h of work and up to 25 min for an on-demand start, in 12.0 h"),
    "too long": (["--deadline-hours", "500"], "the longest stretch without a gap is 226.3 h, and the run has 500.0 h"),
    "half a generator": (["--mtbf-hours", "3"], "--mtbf-hours and --outage-minutes go together"),
    "two sources": (
        ["--mtbf-hours", "3", "--outage-minutes", "9", "--trace", "x"],
        "exclude each other: capacity is measured or generated",
    ),
    "no replays": (["--replays", "0"], "'0' is not a whole number from 1 to 100000"),
    "a word": (["--seed", "x"], "'x' is not a whole number from 0 to 4294967296"),
    "only one region": (
        ["--sweep", "regions", "--regions", "us-east4"],
        "there is one region only, give more with --regions",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_forecast_is_refused_in_one_line(desk: Desk, kind: str) -> None:
    arguments, said = BAD[kind]
    assert said in desk.says(*arguments, code=2)


ROWS = [f"2026-01-0{day}T{hour:02}:00:00Z,1,2" for day in (1, 2) for hour in range(24)]
BAD_TRACES = {
    "empty": ([], "a trace has a line of column names and lines of counts"),
    "negative": ([*ROWS[:2], ROWS[2].replace(",1,", ",-1,")], "line 4: '-1' is not a count of machines"),
    "foreign": ([ROWS[0].replace(",1,", ",many,")], "line 2: 'many' is not a count of machines"),
    "unsorted": ([ROWS[1], ROWS[0]], "line 3: '2026-01-01T00:00:00Z' is not after the previous time"),
    "gaps": ([*ROWS[:9], *ROWS[14:20]], "the longest stretch without a gap is 9.0 h, and the run has 12.0 h"),
    "holes": (
        [row if index < 9 or index > 14 else row[:20] + ",," for index, row in enumerate(ROWS[:20])],
        "the longest stretch without a gap is 9.0 h, and the run has 12.0 h",
    ),
}


@pytest.mark.parametrize("kind", BAD_TRACES)
def test_a_trace_that_cannot_be_used_is_refused_in_one_line(desk: Desk, kind: str) -> None:
    rows, said = BAD_TRACES[kind]
    assert said in desk.says("--trace", desk.trace(*rows), code=2)


def test_another_region_than_the_file_has_is_refused(desk: Desk) -> None:
    said = desk.says("--trace", desk.trace(*ROWS), "--regions", "europe-west1", code=2)
    assert "no region 'europe-west1' in this trace, only us-central1, us-east4" in said
