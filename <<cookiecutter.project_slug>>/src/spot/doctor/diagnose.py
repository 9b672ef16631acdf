"""Check credentials, quota and configuration: independent checks in parallel, with a fix for each failure."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from urllib.parse import quote

from spot.config.settings import Settings
from spot.doctor import bucket, machine, quota, records
from spot.doctor.finding import Finding, Status, failed, find, ok, unknown, warning
from spot.google import registry, rest
from spot.google.rest import GoogleApi, GoogleApiError

SERVICES = ("aiplatform", "artifactregistry", "cloudbilling", "compute", "iam", "storage")
THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    name: str
    make: Callable[[GoogleApi, Settings], list[Finding]]
    role: str = ""
    """The role that allows the check."""
    on: str = ""
    """The gcloud command that grants the role; empty for a role on the project."""


def diagnose(settings: Settings) -> list[Finding]:
    """Return findings on credentials, project, APIs, bucket, account, supervisor, image, machine and quota."""
    credentials, api = _credentials()
    checks = _checks(settings)
    if api is None:
        return [credentials, *(unknown(check.name, "not checked without credentials") for check in checks)]
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        made = pool.map(partial(_made, api, settings, _member(credentials)), checks)
        return list(_each_fix_once([credentials, *chain.from_iterable(made)]))


def _each_fix_once(findings: Iterable[Finding]) -> Iterator[Finding]:
    shown: set[str] = set()
    for finding in findings:
        yield replace(finding, fix="") if finding.fix in shown else finding
        shown.add(finding.fix)


def _checks(settings: Settings) -> list[_Check]:
    on_bucket = f"gcloud storage buckets add-iam-policy-binding gs://{settings.cloud.bucket}"
    usage_viewer = "roles/serviceusage.serviceUsageViewer"
    image = [_Check(name="image", make=_image)] if settings.cloud.image else []
    if "-docker.pkg.dev/" in settings.cloud.image:
        image.append(_Check(name="image readers", role="roles/artifactregistry.admin", make=_readers))
    quotas = [
        _Check(name=quota.name(kind), role=usage_viewer, make=partial(quota.check, provisioning=kind))
        for kind in settings.policy.strategy.kinds
    ]
    return [
        _Check(name="project", role="roles/browser", make=_project),
        _Check(name="APIs", role=usage_viewer, make=_services),
        _Check(name=bucket.NAME, role="roles/storage.legacyBucketReader", on=on_bucket, make=bucket.check),
        _Check(name="service account", role="roles/iam.serviceAccountViewer", make=_service_account),
        _Check(name=records.SUPERVISOR, role="roles/cloudscheduler.viewer", make=records.supervisor),
        *image,
        _Check(name=machine.NAME, role="roles/compute.viewer", make=machine.check),
        *quotas,
        _Check(name=records.LIVE, role="roles/storage.objectViewer", on=on_bucket, make=records.live),
    ]


def _member(credentials: Finding) -> str:
    """Return the caller as gcloud writes a member of a role."""
    address = credentials.detail if credentials.status is Status.OK and "@" in credentials.detail else "YOUR-ADDRESS"
    return f"serviceAccount:{address}" if address.endswith("gserviceaccount.com") else f"user:{address}"


def _made(api: GoogleApi, settings: Settings, member: str, check: _Check) -> list[Finding]:
    try:
        return check.make(api, settings)
    except GoogleApiError as error:
        on = check.on or f"gcloud projects add-iam-policy-binding {settings.cloud.project}"
        grant = f"{on} --member={member} --role={check.role}"
        fix = error.fix.replace("set-quota-project PROJECT", f"set-quota-project {settings.cloud.project}")
        return [unknown(check.name, error.message, grant if error.denied else fix)]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return [unknown(check.name, f"unexpected answer from Google: {type(error).__name__} {error}")]


def _credentials() -> tuple[Finding, GoogleApi | None]:
    check = "credentials"
    if endpoint := os.environ.get(rest.ENDPOINT):
        detail = f"not used, because {rest.ENDPOINT} is {endpoint}"
        return unknown(check, detail, f"unset {rest.ENDPOINT}"), GoogleApi.open()
    try:
        credentials = rest.default_credentials()
        whose = rest.identity(credentials)
    except GoogleApiError as error:
        return failed(check, error.message, error.fix), None
    api = GoogleApi(rest.authorized(credentials), endpoint=rest.GOOGLE)
    return ok(check, whose), api


def _project(api: GoogleApi, settings: Settings) -> list[Finding]:
    check = "project"
    switch = "gcloud projects list  # and set [cloud] project in spot.toml"
    # Google answers 403, not 404, for most missing projects.
    found = find(api, "cloudresourcemanager", f"v3/projects/{quote(settings.cloud.project, safe='')}")
    if found is None:
        return [failed(check, f"{settings.cloud.project} does not exist", switch)]
    state = found["state"]
    if state != "ACTIVE":
        return [
            failed(check, f"{settings.cloud.project} is {state}", f"gcloud projects undelete {settings.cloud.project}")
        ]
    return [ok(check, f"{settings.cloud.project} ({found['name']})")]


def _services(api: GoogleApi, settings: Settings) -> list[Finding]:
    check, parent = "APIs", f"projects/{quote(settings.cloud.project, safe='')}"
    services = SERVICES + (("cloudscheduler", "run") if settings.cloud.supervisor_job else ())
    wanted = [f"{service}.googleapis.com" for service in services]
    names = [f"{parent}/services/{service}" for service in wanted]
    answer = api.get("serviceusage", f"v1/{parent}/services:batchGet", {"names": names})
    enabled = {one["name"].rpartition("/")[2] for one in answer.get("services", ()) if one["state"] == "ENABLED"}
    off = [service for service in wanted if service not in enabled]
    if off:
        fix = f"gcloud services enable {' '.join(off)} --project={settings.cloud.project}"
        return [failed(check, f"not enabled: {', '.join(off)}", fix)]
    return [ok(check, f"enabled: {', '.join(services)}")]


def _service_account(api: GoogleApi, settings: Settings) -> list[Finding]:
    check, address = "service account", settings.cloud.service_account
    account, _, domain = address.partition("@")
    project, _, suffix = domain.partition(".")
    # With `-` for the project, Google answers 403 for an account that does not exist.
    owner = project if suffix == "iam.gserviceaccount.com" else "-"
    found = find(api, "iam", f"v1/projects/{quote(owner, safe='')}/serviceAccounts/{quote(address, safe='')}")
    if found is None:
        fix = f"gcloud iam service-accounts create {account} --project={owner}"
        return [failed(check, f"{address} does not exist", fix)]
    if found.get("disabled", False):
        return [failed(check, f"{address} is disabled", f"gcloud iam service-accounts enable {address}")]
    return [ok(check, found["email"])]


def _readers(api: GoogleApi, settings: Settings) -> list[Finding]:
    """Check that Vertex AI's own accounts may pull the image, which the training account does not do."""
    check, reference = "image readers", registry.parse(settings.cloud.image)
    project, repository = reference.path.split("/")[:2]
    place = f"v1/projects/{project}/locations/{reference.host.removesuffix('-docker.pkg.dev')}/repositories"
    policy = api.get("artifactregistry", f"{place}/{repository}:getIamPolicy")
    members = {member for binding in policy.get("bindings", ()) for member in binding["members"]}
    agents = ("gcp-sa-aiplatform", "gcp-sa-aiplatform-cc")
    lacking = [agent for agent in agents if not any(f"@{agent}.iam.gserviceaccount.com" in one for one in members)]
    if lacking:
        detail = f"{' and '.join(lacking)} of Vertex AI may not pull from {repository}; -cc appears with the first job"
        return [warning(check, detail, "bash infra/bootstrap.sh")]
    return [ok(check, "Vertex AI's accounts may pull the image")]


def _image(_: GoogleApi, settings: Settings) -> list[Finding]:
    check, fix = "image", "set [cloud] image = REGISTRY/PATH@sha256:DIGEST in spot.toml"
    try:
        reference = registry.parse(settings.cloud.image)
        if not reference.is_googles:
            return [
                unknown(check, f"{registry.pin(settings.cloud.image)} is not checked: only registries of Google are")
            ]
        fix = f"gcloud artifacts docker images list {reference.name} --include-tags"
        digest = registry.ask_registry(reference)
    except registry.ImageNotChecked as error:
        return [unknown(check, error.message, error.fix or fix)]
    except registry.ImageError as error:
        return [failed(check, error.message, fix)]
    return [ok(check, f"{reference.name}@{reference.digest or digest}")]
