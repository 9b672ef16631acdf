"""Test the SVG of a forecast: one file, described in words."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from spot.report.forecast_svg import BINS, svg
from spot.report.forecast_wording import ForecastResult
from tests.machinery.simulation.forecasted import CASE, forecast, replays, shown

SVG = "{http://www.w3.org/2000/svg}"


def tree(what: ForecastResult) -> ElementTree.Element:
    return ElementTree.fromstring(svg(what))


def words(what: ForecastResult) -> str:
    return " ".join(text.text or "" for text in tree(what).iter(f"{SVG}text"))


def test_it_has_a_title_and_asks_no_network_for_anything() -> None:
    found = tree(shown())
    assert found.find(f"{SVG}title").text.startswith("Forecast: Expect $5.00: 50% less")  # type: ignore[union-attr]
    text = svg(shown())
    assert text.count("http") == 1, "the name of SVG itself"
    assert "prefers-color-scheme:dark" in text


def test_every_lane_has_its_bars_and_all_of_them_lie_within_the_page() -> None:
    found = tree(shown())
    width = float(found.attrib["viewBox"].split()[2])
    for kind in ("ours", "demand", "window"):
        bars = [bar for bar in found.iter(f"{SVG}rect") if bar.get("class") == kind]
        feet = {round(float(bar.attrib["y"]) + float(bar.attrib["height"])) for bar in bars}
        assert len(feet) == 2, "cost and end"
        assert 0 < len(bars) <= 2 * BINS
        assert all(0 <= float(bar.attrib["x"]) <= width - float(bar.attrib["width"]) for bar in bars)


def test_a_late_run_is_described_in_words() -> None:
    assert "1 late (25%)" in words(shown())
    assert "deadline" in words(shown())


def test_no_model_is_not_called_late() -> None:
    never = forecast(ours=replays([1] * 4, [12, 25, None, None]))
    assert "1 late, no model: 2" in words(shown(never))
    assert "$1.00, no model: 2, 1 late" in words(shown(never, sweep="deadline"))


def test_a_sweep_has_a_bar_for_each_case() -> None:
    cases = [forecast(replace(CASE, label="24 h")), forecast(replace(CASE, label="<48 h> & more"))]
    found = shown(*cases, sweep="deadline")
    assert len([bar for bar in tree(found).iter(f"{SVG}rect") if bar.get("class") == "ours"]) == 2
    assert "What a later deadline buys" in words(found)
    assert "<48 h> & more" in words(found)
    assert "$5.00, 50% saved" in words(found)


def test_a_loss_is_described_in_a_sweep_too() -> None:
    found = shown(forecast(ours=replays([12] * 4, [25] * 4)), sweep="regions")
    assert "$12.00, LOSS 20%, 4 late" in words(found)
