"""Images by digest: what a run trains with cannot change under it, so a tag is resolved or refused."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import requests

from spot.core.errors import SpotError
from spot.google import rest
from spot.google.rest import GoogleApiError

ENDPOINT = "REGISTRY_ENDPOINT"
"""The variable that names another server than the image's own; it is asked anonymously."""
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)

_HOST = r"[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::[0-9]+)?|localhost(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<host>{_HOST})/(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>.*))?"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ImageError(SpotError):
    """There is no such image, or none that a run can be pinned to; one sentence with the image and what to do."""


class ImageNotChecked(ImageError):
    """Its registry did not say, so that nothing is known of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image as it is named."""

    host: str
    path: str
    tag: str
    digest: str
    """Empty if it is named by tag alone."""

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    @property
    def name(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def is_googles(self) -> bool:
        """Whether its registry takes Google Cloud credentials."""
        return self.host.endswith(("-docker.pkg.dev", ".gcr.io")) or self.host == "gcr.io"


Resolve = Callable[[Reference], str]


def parse(image: str) -> Reference:
    """The parts of `host/path[:tag][@digest]`. Raises `ImageError` if it is none."""
    match = _REFERENCE.fullmatch(image)
    if match is None:
        raise ImageError(f"{image!r} names no image: write it as REGISTRY/PATH:TAG or REGISTRY/PATH@sha256:DIGEST")
    digest = match["digest"]
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise ImageError(f"{image!r} has no valid digest: write it as sha256: and 64 digits from 0-9a-f")
    return Reference(host=match["host"], path=match["path"], tag=match["tag"] or "latest", digest=digest or "")


def pin(image: str, resolve: Resolve) -> str:
    """The image by digest; one that has none is asked for by its tag. Raises `ImageError`."""
    reference = parse(image)
    if reference.digest:
        return str(reference)
    if not reference.is_googles:
        raise ImageError(
            f"{image!r} is named by tag, and only Artifact Registry is asked what a tag means: "
            "write the image as REGISTRY/PATH@sha256:DIGEST"
        )
    return f"{reference.name}@{resolve(reference)}"


def ask_registry(reference: Reference, *, sleep: Callable[[float], None] = time.sleep) -> str:
    """The digest that the registry has for it, by its digest or else its tag. Raises `ImageError`."""
    try:
        base, session = _registry(reference)
        response = rest.send(
            session,
            "HEAD",
            f"{base}/v2/{reference.path}/manifests/{reference.digest or reference.tag}",
            sleep=sleep,
            headers={"Accept": MANIFESTS},
        )
    except GoogleApiError as error:
        message = f"cannot ask for {reference}: {error.message}"
        raise ImageNotChecked(message, fix=error.fix, exit_code=error.exit_code) from error
    return _answered(reference, response)


def _registry(reference: Reference) -> tuple[str, requests.Session]:
    if endpoint := os.environ.get(ENDPOINT):
        return endpoint.rstrip("/"), requests.Session()
    return f"https://{reference.host}", rest.authorized(rest.default_credentials())


def _answered(reference: Reference, response: requests.Response) -> str:
    status = response.status_code
    if status == 404:
        raise ImageError(f"there is no image {reference}: push it first, or check its name")
    if status in (401, 403):
        raise ImageNotChecked(
            f"{reference.host} answered {status} for {reference}: check its name, "
            "and ask for roles/artifactregistry.reader on its repository"
        )
    if not response.ok:
        raise ImageNotChecked(f"{reference.host} answered {status} for {reference}: try again later")
    digest = response.headers.get("Docker-Content-Digest", "")
    if not _DIGEST.fullmatch(digest):
        raise ImageError(
            f"{reference.host} gives {digest!r} as the digest of {reference}: write the image as "
            "REGISTRY/PATH@sha256:DIGEST"
        )
    return digest
