"""Resolve the tag of an image to its digest, so that the image of a run cannot change."""

import contextlib
import os
import re
from dataclasses import dataclass

import requests

from spot.core.errors import SpotError
from spot.core.fields import DIGEST
from spot.google import rest
from spot.google.rest import GoogleApiError

ENDPOINT = "REGISTRY_ENDPOINT"
"""Environment variable with the URL of another registry. Calls are anonymous then."""
BY_DIGEST = "REGISTRY/PATH@sha256:DIGEST"
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
"""Lists of manifests, one for each platform and attestation: BuildKit pushes one with its provenance."""
MANIFESTS = (
    *INDEXES,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
PLATFORM = {"os": "linux", "architecture": "amd64"}

_HOST = r"[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::[0-9]+)?|localhost(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<host>{_HOST})/(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>.*))?"
)


class ImageError(SpotError):
    """Report an image that does not exist, or that a run cannot be pinned to."""


class ImageNotChecked(ImageError):
    """Report an image whose registry gave no answer about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    host: str
    path: str
    tag: str
    digest: str
    """Empty if the reference has a tag only."""

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    @property
    def name(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def is_googles(self) -> bool:
        """Return whether the registry accepts Google Cloud credentials."""
        return self.host.endswith(("-docker.pkg.dev", ".gcr.io")) or self.host == "gcr.io"


def parse(image: str) -> Reference:
    """Return the parts of `host/path[:tag][@digest]`. Raises `ImageError`."""
    match = _REFERENCE.fullmatch(image)
    if match is None:
        raise ImageError(f"{image!r} is not an image: expected REGISTRY/PATH:TAG or {BY_DIGEST}")
    digest = match["digest"]
    if digest is not None and not DIGEST.fullmatch(digest):
        raise ImageError(f"{image!r} has an invalid digest: expected sha256: and 64 of 0-9a-f")
    return Reference(host=match["host"], path=match["path"], tag=match["tag"] or "latest", digest=digest or "")


def pin(image: str) -> str:
    """Return the image by digest; a tag is resolved. Raises `ImageError`."""
    reference = parse(image)
    if reference.digest:
        return str(reference)
    if not reference.is_googles:
        raise ImageError(f"{image!r} has a tag, and tags are resolved in Artifact Registry only: use {BY_DIGEST}")
    return f"{reference.name}@{ask_registry(reference)}"


def ask_registry(reference: Reference) -> str:
    """Return the digest of the manifest for linux/amd64 that a digest or tag names. Raises `ImageError`.

    Whether Vertex AI takes the digest of an index is documented nowhere.
    """
    url = f"/v2/{reference.path}/manifests/"
    response = ask(reference, "HEAD", f"{url}{reference.digest or reference.tag}")
    digest = response.headers.get("Docker-Content-Digest", "")
    if response.headers.get("Content-Type") in INDEXES:
        index, digest = ask(reference, "GET", f"{url}{digest}"), ""
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):  # not in the form of an index
            manifests = index.json()["manifests"]
            digest = next((one["digest"] for one in manifests if PLATFORM.items() <= one["platform"].items()), "")
    if not DIGEST.fullmatch(digest):
        raise ImageError(f"{reference.host} gives {digest!r} as the digest of {reference}: use {BY_DIGEST}")
    return digest


def ask(reference: Reference, method: str, path: str) -> requests.Response:
    """Return the response of a registry that has what is asked for. Raises `ImageError`."""
    try:
        endpoint = os.environ.get(ENDPOINT, "").rstrip("/")
        session = requests.Session() if endpoint else rest.authorized(rest.default_credentials())
        base = endpoint or f"https://{reference.host}"
        headers = {"Accept": ", ".join(MANIFESTS)}
        response = rest.send(rest.retried(session), method, f"{base}{path}", headers=headers)
    except GoogleApiError as error:
        message = f"cannot look up image {reference}: {error.message}"
        raise ImageNotChecked(message, fix=error.fix, exit_code=error.exit_code) from error
    status = response.status_code
    if status == 404:
        raise ImageError(f"image {reference} does not exist", fix="push it first, or check its name")
    if not response.ok:
        ask = "check its name, and ask for roles/artifactregistry.reader on its repository"
        fix = ask if status in (401, 403) else "try again later"
        raise ImageNotChecked(f"{reference.host} answered {status} for {reference}", fix=fix)
    return response
