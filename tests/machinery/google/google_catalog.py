"""SKUs as Google's price catalogue lists them: those of a few machines in us-central1, and much else.

The prices are such that the machines cost what they cost in the table of the package.
"""

from __future__ import annotations

from typing import Any

from tests.machinery.google.google_server import Answer

PATH = "/cloudbilling/v1/services/6F81-5844-456A/skus"
VERTEX_PATH = "/cloudbilling/v1/services/C7E2-9256-1C43/skus"
REGIONS = ("us-central1",)


def sku(
    description: str, usd: float, unit: str = "h", *, usage: str = "OnDemand", regions: tuple[str, ...] = REGIONS
) -> dict[str, Any]:
    """As the REST API writes it: whole dollars as a string, the rest in nanos."""
    units, nanos = divmod(round(usd * 1e9), 10**9)
    unit_price = {"currencyCode": "USD", "units": str(units), "nanos": nanos}
    return {
        "name": "services/6F81-5844-456A/skus/0000-0000-0000",
        "skuId": "0000-0000-0000",
        "description": description,
        "category": {
            "serviceDisplayName": "Compute Engine",
            "resourceFamily": "Compute",
            "resourceGroup": "CPU",
            "usageType": usage,
        },
        "serviceRegions": list(regions),
        "pricingInfo": [
            {
                "effectiveTime": "2026-11-01T07:00:00Z",
                "summary": "",
                "pricingExpression": {
                    "usageUnit": unit,
                    "displayQuantity": 1,
                    "tieredRates": [{"startUsageAmount": 0, "unitPrice": unit_price}],
                },
                "currencyConversionRate": 1,
            }
        ],
        "serviceProviderName": "Google",
    }


def spot(description: str, usd: float, unit: str = "h", **changes: Any) -> dict[str, Any]:
    return sku(description, usd, unit, **{"usage": "Preemptible", **changes})


OURS = [
    sku("N1 Predefined Instance Core running in Americas", 0.031611),
    sku("N1 Predefined Instance Ram running in Americas", 0.004237, "GiBy.h"),
    spot("Spot Preemptible N1 Predefined Instance Core running in Americas", 0.01115),
    spot("Spot Preemptible N1 Predefined Instance Ram running in Americas", 0.001494, "GiBy.h"),
    sku("Nvidia Tesla T4 GPU running in Americas", 0.35),
    spot("Nvidia Tesla T4 GPU attached to Spot Preemptible VMs running in Americas", 0.175),
    sku("G2 Instance Core running in Americas", 0.02498844),
    sku("G2 Instance Ram running in Americas", 0.002927391, "GiBy.h"),
    sku("Nvidia L4 GPU running in Americas", 0.560040239),
    spot("Spot Preemptible G2 Instance Core running in Americas", 0.01405),
    spot("Spot Preemptible G2 Instance Ram running in Americas", 0.001646, "GiBy.h"),
    spot("Nvidia L4 GPU attached to Spot Preemptible VMs running in Americas", 0.3148),
    sku("A2 Instance Core running in Americas", 0.031611),
    sku("A2 Instance Ram running in Americas", 0.004237, "GiBy.h"),
    sku("Nvidia Tesla A100 GPU running in Americas", 2.933908),
    spot("Spot Preemptible A2 Instance Core running in Americas", 0.01264),
    spot("Spot Preemptible A2 Instance Ram running in Americas", 0.0017, "GiBy.h"),
    spot("Nvidia Tesla A100 GPU attached to Spot Preemptible VMs running in Americas", 1.63184),
    sku("A3 Instance Core running in Americas", 0.0293),
    sku("A3 Instance Ram running in Americas", 0.00255, "GiBy.h"),
    sku("Nvidia H100 80GB GPU running in Americas", 9.620558207),
    spot("Spot Preemptible A3 Instance Core running in Americas", 0.0126),
    spot("Spot Preemptible A3 Instance Ram running in Americas", 0.0011, "GiBy.h"),
    spot("Nvidia H100 80GB GPU attached to Spot Preemptible VMs running in Americas", 5.691774795),
    sku("SSD backed Local Storage", 0.08, "GiBy.mo"),
    # The catalogue counts this one as OnDemand.
    sku("SSD backed Local Storage attached to Spot Preemptible VMs", 0.0481, "GiBy.mo"),
    sku("SSD backed PD Capacity", 0.17, "GiBy.mo"),
]
FLEX_START = [
    sku("Nvidia H100 80GB GPU attached to DWS Defined Duration VMs running in Americas", 4.200761),
    sku("DWS Defined Duration A3 Core running in Americas", 0.010934),
    sku("DWS Defined Duration A3 Ram running in Americas", 0.000952, "GiBy.h"),
    sku("DWS Defined Duration SSD backed Local Storage running in Americas", 0.08, "GiBy.mo"),
]
FEES = [
    sku("Vertex AI: Training/Pipelines management fee on NVIDIA H100 80GB in Iowa", 1.4694826),
    sku("Vertex AI: Training/Pipelines management fee on A3 Instance Core in Iowa", 0.0038247),
    sku("Vertex AI: Training/Pipelines management fee on A3 Instance RAM in Iowa", 0.0003331, "GiBy.h"),
]
"""As a bill of 8 H100 showed them in 2025."""
NEW = [
    sku("A3Ultra Instance Core running in Americas", 0.03),
    sku("A3Ultra Instance Ram running in Americas", 0.003, "GiBy.h"),
    sku("H200 141GB GPU running in Americas", 9.31174),
    spot("Spot Preemptible A3Ultra Instance Core running in Americas", 0.01),
    spot("Spot Preemptible A3Ultra Instance Ram running in Americas", 0.001, "GiBy.h"),
    spot("H200 141GB GPU attached to Spot Preemptible VMs running in Americas", 3.0),
    sku("A4 Nvidia B200 (1 gpu slice) running in Americas", 16.11),
    sku("Spot Preemptible A4 Nvidia B200 (1 gpu slice) running in Americas", 4.9542),
    sku("G4 Instance Core running in Iowa", 0.04891),
    sku("G4 Instance Ram running in Iowa", 0.005, "GiBy.h"),
    sku("RTX 6000 96GB running in Iowa", 1.5),
    spot("Spot Preemptible G4 Instance Core running in Iowa", 0.02),
    spot("Spot Preemptible G4 Instance Ram running in Iowa", 0.002, "GiBy.h"),
    spot("RTX 6000 96GB attached to Spot Preemptible VMs running in Iowa", 0.6),
]
OTHERS = [
    sku("Commitment v1: G2 Cpu in Americas for 1 Year", 0.015743, usage="Commit1Yr"),
    sku("Commitment v1: Nvidia L4 GPU running in Americas for 1 Year", 0.35, usage="Commit1Yr"),
    sku("G2 Instance Core running in Americas", 0.001, usage="Commit3Yr"),
    sku("N1 Predefined Sole Tenancy Instance Core running in Americas", 0.001),
    sku("Nvidia Tesla T4 GPU attached to Sole Tenancy VMs running in Americas", 9.0),
    sku("Vertex AI: Training/Pipelines on A3 Instance Core in Iowa", 0.0293227),
    sku("G2 Custom Instance Core running in Americas", 0.001),
    sku("Reserved A3 Instance Core running in Americas", 0.001),
    sku("Regional SSD backed PD Capacity", 0.34, "GiBy.mo"),
    sku("Commitment v1: Local SSD in Americas for 1 Year", 0.05, "GiBy.mo", usage="Commit1Yr"),
    sku("Network Vpn Internet Egress from Americas to Africa", 0.12, "GiBy"),
    sku("Licensing Fee for Windows Server on VM with 8 VCPU", 0.368),
]


def pages(*contents: list[dict[str, Any]]) -> list[Answer]:
    """An answer for each page, in turn."""
    last = len(contents) - 1
    return [
        Answer({"skus": skus, "nextPageToken": f"page-{number + 1}" if number < last else ""})
        for number, skus in enumerate(contents)
    ]
