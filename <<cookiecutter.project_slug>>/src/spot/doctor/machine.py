"""Checks of the machine: each region has a zone with both its type and its GPU."""

from __future__ import annotations

from urllib.parse import quote

from spot.doctor.finding import Finding, Status, Subject
from spot.google.machine_types import compute_engine_name
from spot.google.rest import GoogleApi

NAME = "machine"


def check(api: GoogleApi, subject: Subject) -> list[Finding]:
    """A finding by region. Compute Engine's word: Vertex AI supports no more, and may support less.

    Raises `GoogleApiError` if Compute Engine cannot be asked.
    """
    machine = subject.machine
    zones, named = _zones_with(api, subject.project, "machineTypes", machine.type), machine.type
    if machine.accelerator:
        zones &= _zones_with(api, subject.project, "acceleratorTypes", compute_engine_name(machine.accelerator))
        named = f"{machine.type} with {machine.accelerator}"
    return [_region(region, named, zones, subject) for region in subject.regions]


def _region(region: str, named: str, zones: set[str], subject: Subject) -> Finding:
    check = f"{NAME} {region}"
    there = sorted(zone for zone in zones if zone.rpartition("-")[0] == region)
    if there:
        return Finding(check=check, status=Status.OK, detail=f"{named} is in {', '.join(there)}")
    command = (
        f'gcloud compute machine-types list --project={subject.project} --filter="name={subject.machine.type}" '
        '--format="value(zone)"'
    )
    return Finding(
        check=check,
        status=Status.FAILED,
        detail=f"no zone of {region} has {named}",
        fix=f"{command}  # and choose among these in spot.toml: [cloud] regions",
    )


def _zones_with(api: GoogleApi, project: str, kind: str, name: str) -> set[str]:
    """The zones whose list of this kind has the name."""
    path = f"compute/v1/projects/{quote(project, safe='')}/aggregated/{kind}"
    return {
        scope.removeprefix("zones/")
        for page in api.pages("compute", path, {"filter": f"name={name}", "maxResults": "500"})
        for scope, held in page.get("items", {}).items()
        if any(item["name"] == name for item in held.get(kind, ()))
    }
