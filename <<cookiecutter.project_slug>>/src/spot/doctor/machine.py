"""Check that Vertex AI trains with the GPU in each region, and that a zone has both the machine type and the GPU."""

from pathlib import Path
from urllib.parse import quote

from spot.config.settings import Settings
from spot.doctor.finding import Finding, failed, ok, unknown
from spot.google.machine_types import build_for, compute_engine_name, training_regions
from spot.google.rest import GoogleApi

NAME = "machine"
DRIVER = "driver"


def check(api: GoogleApi, settings: Settings) -> list[Finding]:
    """Return a finding for each region. Raise `GoogleApiError` without an answer of Compute Engine.

    Vertex AI supports at most the machines of Compute Engine.
    """
    machine = settings.machine()
    zones, named = _zones_with(api, settings.cloud.project, "machineTypes", machine.type), machine.type
    if machine.accelerator:
        zones &= _zones_with(api, settings.cloud.project, "acceleratorTypes", compute_engine_name(machine.accelerator))
        named = f"{machine.type} with {machine.accelerator}"
    return [_region(region, named, zones, settings) for region in settings.cloud.regions]


def driver(settings: Settings) -> list[Finding]:
    """Return which NVIDIA driver the lock of the image needs. Vertex AI does not publish the version of its driver."""
    build = build_for(settings.machine().accelerator, (settings.folder or Path()) / "locks")
    match build:
        case "cu126":
            return [ok(DRIVER, "locks/cu126.txt needs the NVIDIA driver R525 or newer")]
        case "cuda":
            detail = "locks/cuda.txt needs the NVIDIA driver R580 or newer, and Vertex AI's is not published"
            return [
                unknown(DRIVER, detail, "nox -s lock  # adds locks/cu126.txt for R525, without B200 and RTX PRO 6000")
            ]
    return []


def _region(region: str, named: str, zones: set[str], settings: Settings) -> Finding:
    check = f"{NAME} {region}"
    trains = training_regions(settings.machine().accelerator)
    if trains and region not in trains:
        detail = f"Vertex AI does not train with {settings.hardware.accelerator} in {region}"
        return failed(check, detail, f"set [cloud] regions in spot.toml to some of {', '.join(trains)}")
    there = sorted(zone for zone in zones if zone.rpartition("-")[0] == region)
    if there:
        return ok(check, f"{named} is in {', '.join(there)}")
    command = (
        f"gcloud compute machine-types list --project={settings.cloud.project}"
        f' --filter="name={settings.hardware.type}" --format="value(zone)"'
    )
    return failed(check, f"no zone of {region} has {named}", f"{command}  # and set [cloud] regions in spot.toml")


def _zones_with(api: GoogleApi, project: str, kind: str, name: str) -> set[str]:
    path = f"compute/v1/projects/{quote(project, safe='')}/aggregated/{kind}"
    return {
        scope.removeprefix("zones/")
        for page in api.pages("compute", path, {"filter": f"name={name}", "maxResults": "500"})
        for scope, held in page.get("items", {}).items()
        if any(item["name"] == name for item in held.get(kind, ()))
    }
