"""Checks of what would fail later: each on its own, side by side, and none keeps another from being made."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from urllib.parse import quote

from spot.config.settings import Settings
from spot.doctor import bucket, machine, quota
from spot.doctor.finding import Finding, Status, Subject
from spot.google import registry, rest
from spot.google.rest import GoogleApi, GoogleApiError

SERVICES = ("aiplatform", "artifactregistry", "compute", "iam", "storage")
THREADS = 8

Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    name: str
    make: Callable[[GoogleApi, Subject], list[Finding]]
    role: str = ""
    """What lets it see what it checks."""
    on: str = ""
    """What that role is given on, as the start of a gcloud command; empty for the project."""


def subject_of(settings: Settings) -> Subject:
    return Subject(
        project=settings.cloud.project,
        regions=settings.cloud.regions,
        bucket=settings.cloud.bucket,
        service_account=settings.cloud.service_account,
        image=settings.cloud.image,
        machine=settings.machine(),
        strategy=settings.policy_config().strategy,
    )


def diagnose(subject: Subject, *, sleep: Sleep = time.sleep) -> list[Finding]:
    """The credentials, the project, its APIs, bucket, account, image, and by region the machine and the quota."""
    credentials, api = _credentials(sleep)
    checks = _checks(subject, sleep)
    if api is None:
        not_made = [_unknown(check.name, "not checked without credentials", credentials.fix) for check in checks]
        return [credentials, *not_made]
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        made = pool.map(partial(_made, api, subject, _member(credentials)), checks)
        return [credentials, *chain.from_iterable(made)]


def _checks(subject: Subject, sleep: Sleep) -> list[_Check]:
    on_bucket = f"gcloud storage buckets add-iam-policy-binding gs://{subject.bucket}"
    checks = [
        _Check(name="project", role="roles/browser", make=_project),
        _Check(name="APIs", role="roles/serviceusage.serviceUsageViewer", make=_services),
        _Check(name=bucket.NAME, role="roles/storage.legacyBucketReader", on=on_bucket, make=bucket.check),
    ]
    if subject.service_account:
        checks.append(_Check(name="service account", role="roles/iam.serviceAccountViewer", make=_service_account))
    if subject.image:
        checks.append(_Check(name="image", make=partial(_image, sleep)))
    checks.append(_Check(name=machine.NAME, role="roles/compute.viewer", make=machine.check))
    checks.extend(
        _Check(
            name=quota.name(provisioning),
            role="roles/serviceusage.serviceUsageViewer",
            make=partial(quota.check, provisioning=provisioning),
        )
        for provisioning in quota.kinds(subject.strategy)
    )
    return checks


def _member(credentials: Finding) -> str:
    """Who is to be given a role, as gcloud writes it."""
    address = credentials.detail if credentials.status is Status.OK and "@" in credentials.detail else "YOUR-ADDRESS"
    return f"serviceAccount:{address}" if address.endswith("gserviceaccount.com") else f"user:{address}"


def _made(api: GoogleApi, subject: Subject, member: str, check: _Check) -> list[Finding]:
    try:
        return check.make(api, subject)
    except GoogleApiError as error:
        on = check.on or f"gcloud projects add-iam-policy-binding {subject.project}"
        grant = f"{on} --member={member} --role={check.role}"
        return [_unknown(check.name, error.message, grant if error.denied else error.fix)]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return [_unknown(check.name, f"Google's answer is not as expected: {type(error).__name__} {error}", "")]


def _credentials(sleep: Sleep) -> tuple[Finding, GoogleApi | None]:
    check = "credentials"
    if endpoint := os.environ.get(rest.ENDPOINT):
        detail = f"none are used: {rest.ENDPOINT} is {endpoint}"
        return _unknown(check, detail, f"unset {rest.ENDPOINT}"), GoogleApi.open(sleep=sleep)
    try:
        credentials = rest.default_credentials()
        whose = rest.identity(credentials)
    except GoogleApiError as error:
        return Finding(check=check, status=Status.FAILED, detail=error.message, fix=error.fix), None
    api = GoogleApi(rest.authorized(credentials), endpoint=rest.GOOGLE, sleep=sleep)
    return Finding(check=check, status=Status.OK, detail=whose), api


def _project(api: GoogleApi, subject: Subject) -> list[Finding]:
    check = "project"
    switch = "gcloud projects list  # and name one of these in spot.toml: [cloud] project"
    try:
        found = api.get("cloudresourcemanager", f"v3/projects/{quote(subject.project, safe='')}")
    except GoogleApiError as error:
        if error.status != 404:
            raise  # a project that does not exist is answered with 403, like one that may not be seen
        return [Finding(check=check, status=Status.FAILED, detail=f"{subject.project} does not exist", fix=switch)]
    state = found["state"]
    if state != "ACTIVE":
        detail, fix = f"{subject.project} is {state}", f"gcloud projects undelete {subject.project}"
        return [Finding(check=check, status=Status.FAILED, detail=detail, fix=fix)]
    return [Finding(check=check, status=Status.OK, detail=f"{subject.project} ({found['name']})")]


def _services(api: GoogleApi, subject: Subject) -> list[Finding]:
    check, parent = "APIs", f"projects/{quote(subject.project, safe='')}"
    wanted = [f"{service}.googleapis.com" for service in SERVICES]
    names = [f"{parent}/services/{service}" for service in wanted]
    answer = api.get("serviceusage", f"v1/{parent}/services:batchGet", {"names": names})
    enabled = {one["name"].rpartition("/")[2] for one in answer.get("services", ()) if one["state"] == "ENABLED"}
    off = [service for service in wanted if service not in enabled]
    if off:
        detail = f"not enabled: {', '.join(off)}"
        fix = f"gcloud services enable {' '.join(off)} --project={subject.project}"
        return [Finding(check=check, status=Status.FAILED, detail=detail, fix=fix)]
    return [Finding(check=check, status=Status.OK, detail=f"enabled: {', '.join(SERVICES)}")]


def _service_account(api: GoogleApi, subject: Subject) -> list[Finding]:
    check, address = "service account", subject.service_account
    account, _, domain = address.partition("@")
    project, _, suffix = domain.partition(".")
    # With `-` for the project, Google answers 403 for an account that does not exist.
    owner = project if suffix == "iam.gserviceaccount.com" else "-"
    try:
        found = api.get("iam", f"v1/projects/{quote(owner, safe='')}/serviceAccounts/{quote(address, safe='')}")
    except GoogleApiError as error:
        if error.status != 404:
            raise
        fix = f"gcloud iam service-accounts create {account} --project={owner}"
        return [Finding(check=check, status=Status.FAILED, detail=f"{address} does not exist", fix=fix)]
    if found.get("disabled", False):
        fix = f"gcloud iam service-accounts enable {address}"
        return [Finding(check=check, status=Status.FAILED, detail=f"{address} is disabled", fix=fix)]
    return [Finding(check=check, status=Status.OK, detail=found["email"])]


def _image(sleep: Sleep, _: GoogleApi, subject: Subject) -> list[Finding]:
    check, fix = "image", "name it in spot.toml: [cloud] image = REGISTRY/PATH@sha256:DIGEST"
    resolve = partial(registry.ask_registry, sleep=sleep)
    try:
        reference = registry.parse(subject.image)
        if reference.is_googles:
            fix = f"gcloud artifacts docker images list {reference.name} --include-tags"
        pinned = registry.pin(subject.image, resolve)
        if not reference.is_googles:
            return [_unknown(check, f"{pinned} is in no registry of Google, and no other is asked", "")]
        if reference.digest:
            resolve(reference)
    except registry.ImageNotChecked as error:
        return [_unknown(check, error.message, error.fix or fix)]
    except registry.ImageError as error:
        return [Finding(check=check, status=Status.FAILED, detail=error.message, fix=fix)]
    return [Finding(check=check, status=Status.OK, detail=pinned)]


def _unknown(check: str, detail: str, fix: str) -> Finding:
    return Finding(check=check, status=Status.UNKNOWN, detail=detail, fix=fix)
