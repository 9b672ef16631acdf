"""Test the packaged prices, and reading, writing and refusing a project's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from spot.core.errors import SpotError
from spot.pricing.table import DISK, FILE, Rate, beside, packaged, parse, save, written

HEAD = "resource,region,on_demand_usd_per_hour,spot_usd_per_hour,dated\n"
LINE = "g2-standard-8,us-central1,0.9,0.4,2026-08-24\n"
CONFLICT = "<" * 7 + " HEAD"
"""A merge conflict of git."""
MINE = Rate(on_demand=0.9, spot=0.4, dated=date(2026, 8, 24))


def test_the_package_knows_the_day_of_its_prices() -> None:
    rate = packaged().rate("g2-standard-8", "us-central1")

    assert rate == Rate(on_demand=0.853624271, spot=0.479872, dated=date(2026, 7, 30))
    assert len(packaged().regions("g2-standard-8")) == 10


def test_a_disk_costs_the_same_everywhere_until_it_is_known_better(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(f"{HEAD}{DISK},us-east4,0.00025,0.00025,2026-08-24\n")
    table = beside(tmp_path)

    assert table.rate(DISK, "asia-south2") == packaged().rate(DISK, "us-east4")
    assert table.rate(DISK, "us-east4") == Rate(on_demand=0.00025, spot=0.00025, dated=date(2026, 8, 24))
    assert table.regions(DISK) == ["us-east4"]


def test_the_projects_own_prices_win_for_what_they_have(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(f"{HEAD}{LINE}c3-standard-4,mars-north1,2,1,\n")
    table = beside(tmp_path)

    assert table.rate("g2-standard-8", "us-central1") == MINE
    assert table.rate("c3-standard-4", "mars-north1") == Rate(on_demand=2, spot=1, dated=None)
    assert table.rate("g2-standard-8", "us-east4") == packaged().rate("g2-standard-8", "us-east4")


def test_without_prices_of_its_own_a_project_has_those_of_the_package(tmp_path: Path) -> None:
    assert beside(tmp_path) == packaged()


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    rates = {
        ("g2-standard-8", "us-central1"): MINE,
        ("a2-highgpu-1g", "us-east4"): Rate(on_demand=3.934354926, spot=2.360575, dated=None),
        ("a3-highgpu-8g", "us-east4"): replace(MINE, flex_start=38.3, fee=13.2),
    }

    save(rates, tmp_path)

    path = tmp_path / FILE
    assert parse(path.read_text(), FILE) == rates
    assert path.read_text().splitlines()[1] == "a2-highgpu-1g,us-east4,3.934354926,2.360575,,,"  # sorted
    assert [found.name for found in tmp_path.iterdir()] == [FILE]


def test_fresh_prices_go_over_old_ones_and_what_they_lack_stays(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(f"{HEAD}{LINE}c3-standard-4,mars-north1,2,1,\n")
    fresh = {("g2-standard-8", "us-central1"): Rate(on_demand=5, spot=3, dated=date(2027, 1, 1))}

    save(fresh, tmp_path)

    rates = parse((tmp_path / FILE).read_text(), FILE)
    assert {key: rate.on_demand for key, rate in rates.items()} == {
        ("g2-standard-8", "us-central1"): 5,
        ("c3-standard-4", "mars-north1"): 2,
    }


def test_fresh_prices_repair_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(f"{CONFLICT}\n")
    fresh = {("g2-standard-8", "us-central1"): MINE}

    save(fresh, tmp_path)

    assert beside(tmp_path).rate("g2-standard-8", "us-central1") == MINE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "the header is '', not resource,region,", id="an empty file"),
        pytest.param("a,b\n1,2\n", "the header is 'a,b', not resource,region,", id="another table"),
        pytest.param(HEAD, "the table has no prices", id="a head alone"),
        pytest.param(f"{HEAD}{LINE}\n{CONFLICT}\n", "line 4: expected 5 values, not 1", id="a conflict of git"),
        pytest.param(f"{HEAD}{LINE}{LINE}", "line 3: g2-standard-8 has a price in us-central1 already", id="twice"),
        pytest.param(f"{HEAD}g2 standard,us-central1,1,1,\n", "line 2: resource is 'g2 standard'", id="a resource"),
        pytest.param(
            f"{HEAD}g2-standard-8,us-central1-a,1,1,\n", "region is 'us-central1-a': expected a region like", id="zone"
        ),
        pytest.param(
            f"{HEAD}g2-standard-8,us-central1,free,1,\n", "line 2: on_demand_usd_per_hour is 'free'", id="a word"
        ),
        pytest.param(f"{HEAD}g2-standard-8,us-central1,1,-1,\n", "spot_usd_per_hour is '-1'", id="below nothing"),
        pytest.param(f"{HEAD}g2-standard-8,us-central1,1,0,\n", "spot_usd_per_hour is '0'", id="nothing"),
        pytest.param(f"{HEAD}g2-standard-8,us-central1,1,nan,\n", "spot_usd_per_hour is 'nan'", id="no number"),
        pytest.param(f"{HEAD}g2-standard-8,us-central1,inf,1,\n", "on_demand_usd_per_hour is 'inf'", id="no end"),
        pytest.param(
            f"{HEAD}g2-standard-8,us-central1,1,1,July\n", "dated is 'July': expected a date such as", id="no day"
        ),
        pytest.param(f'{HEAD}"g2-standard-8\n', "line 2: unexpected end of data", id="a quote that does not end"),
    ],
)
def test_a_wrong_table_is_one_line_with_its_place_and_the_fix(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)

    with pytest.raises(SpotError) as caught:
        beside(tmp_path)

    line = str(caught.value)
    assert said in line
    assert line.startswith(f"{tmp_path}/prices.csv")
    assert line.endswith(" (fix: correct the file, or rewrite it with spot prices --refresh)")
    assert line.isprintable()


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe")

    with pytest.raises(SpotError, match=r"prices\.csv: line 1 is not UTF-8 \(byte 0xff\) \(fix: correct the file"):
        beside(tmp_path)


def test_a_table_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()

    with pytest.raises(SpotError, match=r"prices\.csv: cannot be read \(Is a directory\)"):
        beside(tmp_path)


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(SpotError, match=r"cannot be written \(No such file or directory\), the old prices stay"):
        save({("g2-standard-8", "us-central1"): MINE}, tmp_path / "nowhere")


def test_the_packages_tables_could_be_a_projects_own() -> None:
    assert {key: rate.on_demand for key, rate in parse(written(packaged().rates), FILE).items()} == pytest.approx(
        {key: rate.on_demand for key, rate in packaged().rates.items()}
    )
