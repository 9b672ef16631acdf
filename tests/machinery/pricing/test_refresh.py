"""Test that SKUs become prices of machines, and that an unusable catalogue is one line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pytest
from google.cloud.billing_v1 import ListSkusResponse

from spot.core.errors import Exit
from spot.core.run import Machine, Provisioning
from spot.google import rest
from spot.google.rest import RETRY
from spot.pricing.quotes import quote
from spot.pricing.refresh import MAX_PAGES, CatalogError, fetch, rates
from spot.pricing.table import DISK, PriceTable, Rate, Rates, packaged
from tests.machinery.google.google_catalog import (
    FEES,
    FLEX_START,
    NEW,
    OTHERS,
    OURS,
    PATH,
    VERTEX_PATH,
    pages,
    sku,
    spot,
)
from tests.machinery.google.google_server import HANG_UP, Answer, GoogleServer, api_is_off, google_server

TODAY = date(2026, 11, 24)
REGION = "us-central1"


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleServer]:
    with google_server() as server:
        monkeypatch.setenv(rest.ENDPOINT, f"{server.url}/{{api}}")
        yield server


def priced(skus: Sequence[dict[str, Any]]) -> Rates:
    return rates(skus, TODAY)


def asked() -> Rates:
    return fetch(TODAY)


def test_the_skus_of_these_tests_have_the_form_that_googles_own_client_reads() -> None:
    found = ListSkusResponse.from_json(json.dumps({"skus": [*OURS, *OTHERS]}))  # refuses a key that it does not know
    assert [one.category.usage_type for one in found.skus] == [one["category"]["usageType"] for one in [*OURS, *OTHERS]]
    assert all(one.pricing_info[0].pricing_expression.tiered_rates[0].unit_price.currency_code for one in found.skus)


@pytest.mark.parametrize(
    "resource",
    [
        *("n1-standard-8", "n1-highmem-8", "NVIDIA_TESLA_T4", "g2-standard-4", "g2-standard-48"),
        *("a2-highgpu-1g", "a2-highgpu-8g", "a3-highgpu-1g", "a3-highgpu-8g"),
    ],
)
def test_a_machine_costs_what_its_parts_do(resource: str) -> None:
    found, expected = priced(OURS)[resource, REGION], packaged().rate(resource, REGION)

    assert expected is not None
    assert (found.on_demand, found.spot) == pytest.approx((expected.on_demand, expected.spot), rel=1e-7)
    assert found.dated == TODAY


def test_a_disk_has_a_price_by_the_hour() -> None:
    assert priced(OURS)[DISK, REGION].on_demand == pytest.approx(0.17 / 730)


def test_an_a3_comes_with_its_local_ssd_and_an_a2_with_its_gpu() -> None:
    without_ssd = [one for one in OURS if "Local Storage" not in one["description"]]
    without_gpu = [one for one in OURS if "A100" not in one["description"]]

    assert ("a3-highgpu-1g", REGION) not in priced(without_ssd)
    assert ("a2-highgpu-1g", REGION) in priced(without_ssd)
    assert ("a2-highgpu-1g", REGION) not in priced(without_gpu)


def test_flex_start_and_the_fee_are_read_and_cost_what_a_bill_showed() -> None:
    """8 H100 cost $52.03 an hour with FLEX_START, $0.54 of it for a disk of 2000 GB."""
    found = priced([*OURS, *FLEX_START, *FEES])
    rate = found["a3-highgpu-8g", REGION]
    assert rate.flex_start is not None
    assert rate.fee is not None
    assert rate.flex_start + rate.fee == pytest.approx(52.0306163 - 0.53561644, abs=1e-4)
    assert (found["g2-standard-8", REGION].flex_start, found["g2-standard-8", REGION].fee) == (None, None)

    eight = Machine(type="a3-highgpu-8g", accelerator="NVIDIA_H100_80GB", accelerator_count=8, boot_disk_gb=100)
    quoted = quote(eight, REGION, PriceTable(rates=found))
    assert quoted
    assert quoted.flex_start == pytest.approx(51.495, abs=1e-3)
    assert quoted.usd_per_hour[Provisioning.FLEX_START] == pytest.approx(51.495 + quoted.disk, abs=1e-3)
    assert quoted.spot - rate.spot == pytest.approx(rate.fee)
    assert quoted.on_demand - rate.on_demand == pytest.approx(rate.fee)


@pytest.mark.parametrize(
    ("resource", "on_demand", "spot_usd"),
    [
        ("a3-ultragpu-8g", 224 * 0.03 + 2952 * 0.003 + 8 * 9.31174, 224 * 0.01 + 2952 * 0.001 + 8 * 3.0),
        ("a4-highgpu-8g", 8 * 16.11, 8 * 4.9542),
        ("g4-standard-96", 96 * 0.04891 + 360 * 0.005 + 2 * 1.5, 96 * 0.02 + 360 * 0.002 + 2 * 0.6),
    ],
)
def test_the_machines_of_2026_have_a_price(resource: str, on_demand: float, spot_usd: float) -> None:
    found = priced([*OURS, *NEW])[resource, REGION]
    ssd = [12_000 * usd / 730 if resource == "a3-ultragpu-8g" else 0 for usd in (0.08, 0.0481)]
    assert (found.on_demand, found.spot) == pytest.approx((on_demand + ssd[0], spot_usd + ssd[1]))


def test_local_ssd_without_a_discount_is_taken_at_its_full_price() -> None:
    full = [one for one in OURS if not one["description"].startswith("SSD backed Local Storage attached")]

    dearer, usual = (priced(skus)["a3-highgpu-1g", REGION].spot for skus in (full, OURS))

    assert dearer - usual == pytest.approx(750 * (0.08 - 0.0481) / 730)


def test_a_machine_without_a_spot_price_is_left_out() -> None:
    on_demand_only = [
        one for one in OURS if one["description"] != "Spot Preemptible G2 Instance Ram running in Americas"
    ]

    assert ("g2-standard-8", REGION) not in priced(on_demand_only)


def test_commitments_reservations_and_the_like_change_no_price() -> None:
    found = priced([*OTHERS, *OURS, *OTHERS])

    assert found == priced(OURS)


def test_each_region_of_a_sku_gets_its_price_and_only_regions_do() -> None:
    where = ("us-central1", "us-west1", "global", "us-central1-a")
    found = priced([{**one, "serviceRegions": list(where)} for one in OURS])

    assert {region for _, region in found} == {"us-central1", "us-west1"}
    assert found["g2-standard-8", "us-west1"] == found["g2-standard-8", "us-central1"]


def test_a_sku_named_after_a_city_and_one_for_preemptible_vms_of_old_are_read() -> None:
    renamed = [
        {
            **one,
            "description": one["description"]
            .replace("Americas", "Iowa")
            .replace("Spot Preemptible N1", "Preemptible N1"),
        }
        for one in OURS
    ]

    assert priced(renamed) == priced(OURS)


def test_of_two_prices_for_the_same_the_dearer_one_counts() -> None:
    for more in (0.9, 0.1):
        found = priced([*OURS, sku("Nvidia Tesla T4 GPU running in Iowa", more)])
        assert found["NVIDIA_TESLA_T4", REGION].on_demand == max(more, 0.35)


def test_the_newest_price_of_a_timeline_counts() -> None:
    old, new = (spot("Nvidia Tesla T4 GPU attached to Spot Preemptible VMs running in X", usd) for usd in (9.0, 0.2))
    both = {**new, "pricingInfo": [*old["pricingInfo"], *new["pricingInfo"]]}

    assert priced([*OURS, both])["NVIDIA_TESLA_T4", REGION].spot == 0.2


def test_whole_dollars_count_and_a_zero_may_be_left_out() -> None:
    gpu = sku("Nvidia Tesla T4 GPU running in Americas", 2.48)
    cheap = spot("Nvidia Tesla T4 GPU attached to Spot Preemptible VMs running in Americas", 1.0)
    del cheap["pricingInfo"][0]["pricingExpression"]["tieredRates"][0]["unitPrice"]["nanos"]

    assert priced([gpu, cheap])["NVIDIA_TESLA_T4", REGION] == Rate(on_demand=2.48, spot=1.0, dated=TODAY)


def broken(**changes: Any) -> dict[str, Any]:
    """Return the SKU of a T4 with a changed pricing expression."""
    found = sku("Nvidia Tesla T4 GPU running in Mars", 3.0)
    found["pricingInfo"][0]["pricingExpression"] |= changes
    return found


def price(**money: object) -> dict[str, Any]:
    return {"tieredRates": [{"unitPrice": {"currencyCode": "USD", "units": "0", "nanos": 0, **money}}]}


@pytest.mark.parametrize(
    "one",
    [
        pytest.param({**broken(), "pricingInfo": []}, id="no price"),
        pytest.param(broken(tieredRates=[]), id="no tier"),
        pytest.param(broken(tieredRates=2 * price(units="3")["tieredRates"]), id="two tiers"),
        pytest.param(broken(usageUnit="GiBy.h"), id="a unit of something else"),
        pytest.param(broken(usageUnit="fortnight"), id="an unknown unit"),
        pytest.param(broken(**price(currencyCode="EUR", units="3")), id="another currency"),
        pytest.param(broken(**price()), id="nothing"),
        pytest.param(broken(**price(units="-3")), id="below nothing"),
        pytest.param(broken(**price(units="9999999999")), id="absurd"),
    ],
)
def test_a_price_in_no_known_form_is_left_out(one: dict[str, Any]) -> None:
    found = priced([one, *OURS])

    assert found == priced(OURS)


def test_what_has_no_description_is_left_out() -> None:
    assert priced([{}, *OURS]) == priced(OURS)


def test_every_page_is_read(google: GoogleServer) -> None:
    google.answers |= {PATH: [*pages(OURS[:9], OTHERS, OURS[9:])], VERTEX_PATH: [*pages(FEES)]}

    found = asked()

    assert found == priced([*OURS, *FEES]) != priced(OURS)
    assert [one.query.get("pageToken") for one in google.asked] == [None, ["page-1"], ["page-2"], None]
    assert {tuple(one.query["currencyCode"]) for one in google.asked} == {("USD",)}


def test_an_answer_that_fails_once_is_asked_for_again(google: GoogleServer) -> None:
    first, second = pages(OURS[:9], OURS[9:])
    google.answers[PATH] = [first, Answer(status=503), HANG_UP, second]

    assert asked() == priced(OURS)


@pytest.mark.parametrize(
    ("answers", "said", "passing"),
    [
        pytest.param(
            [pages(OURS, [])[0], Answer(status=503)], "answered 503", True, id="the second page does not come"
        ),
        pytest.param([pages(OURS, [])[0], HANG_UP], "no answer from", True, id="the connection breaks"),
        pytest.param([Answer('{"skus": [{"na')], "without a JSON object", True, id="half an answer"),
        pytest.param([Answer("[7]")], "without a JSON object", True, id="a list of numbers"),
        pytest.param([Answer({"skus": "all"})], "without a list of SKUs", True, id="nonsense"),
        pytest.param([Answer("<html>")], "without a JSON object", True, id="a page for people"),
        pytest.param([Answer({})], "none of its SKUs belongs to a known machine", True, id="an empty answer"),
        pytest.param([Answer({"skus": OTHERS})], "none of its SKUs belongs", True, id="other SKUs"),
        pytest.param(
            [Answer({"error": "x"}, status=502)],
            "answered 502",
            True,
            id="an error of a proxy, in its own JSON",
        ),
        pytest.param([Answer(status=429)], "answered 429", True, id="too many calls"),
        pytest.param(
            [api_is_off("cloudbilling.googleapis.com")],
            "gcloud services enable cloudbilling.googleapis.com --project=123",
            False,
            id="the API is off",
        ),
    ],
)
def test_what_is_not_the_whole_catalogue_is_one_line(
    answers: list[Answer], said: str, passing: bool, google: GoogleServer
) -> None:
    google.answers[PATH] = [*answers]

    with pytest.raises(CatalogError) as caught:
        asked()

    assert str(caught.value).startswith("Google's price catalogue was not read, the old prices stay: ")
    assert said in str(caught.value)
    assert (caught.value.exit_code is Exit.AGAIN) is passing
    assert len(google.asked) <= len(answers) + (RETRY.total or 0)


def test_a_list_without_an_end_is_none(google: GoogleServer) -> None:
    google.answers[PATH] = Answer({"skus": OTHERS[:1], "nextPageToken": "again"})

    with pytest.raises(CatalogError, match=f"does not end after {MAX_PAGES} pages"):
        asked()
