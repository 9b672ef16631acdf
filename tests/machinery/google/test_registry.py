"""Test that an image is pinned by digest, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spot.google import registry as registry_module
from spot.google.registry import ImageError, ImageNotChecked, ask_registry, parse, pin
from tests.machinery.google.google_server import HANG_UP, Answer, GoogleServer, google_server

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
NAME = "us-central1-docker.pkg.dev/my-project/images/trainer"
MANIFEST = "/v2/my-project/images/trainer/manifests"
FOUND = Answer(headers={"Docker-Content-Digest": DIGEST})


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleServer]:
    with google_server() as server:
        monkeypatch.setenv(registry_module.ENDPOINT, server.url)
        yield server


@pytest.mark.parametrize("host", ["us-central1-docker.pkg.dev", "gcr.io", "ghcr.io", "registry.example.com:5000"])
@pytest.mark.parametrize("tag", ["", ":v1"])
def test_an_image_by_digest_is_taken_as_it_is_without_its_tag(host: str, tag: str) -> None:
    assert pin(f"{host}/a/b{tag}@{DIGEST}") == f"{host}/a/b@{DIGEST}"


@pytest.mark.parametrize("host", ["us-central1-docker.pkg.dev", "europe-docker.pkg.dev", "gcr.io", "eu.gcr.io"])
@pytest.mark.parametrize(("suffix", "tag"), [(":v1.2_3-x", "v1.2_3-x"), ("", "latest")])
def test_what_a_tag_means_is_asked_of_the_registry(registry: GoogleServer, host: str, suffix: str, tag: str) -> None:
    registry.answers[f"/v2/my-project/a/b/manifests/{tag}"] = FOUND
    assert pin(f"{host}/my-project/a/b{suffix}") == f"{host}/my-project/a/b@{DIGEST}"


@pytest.mark.parametrize(
    "name",
    [
        "docker.io/library/python:3.11",
        "ghcr.io/a/b",
        "localhost:5000/a:v1",
        "gcr.io.example.com/a/b:v1",
        "notgcr.io/a/b:v1",
    ],
)
def test_a_tag_in_a_registry_that_is_not_googles_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match=r"has a tag.*use REGISTRY/PATH@sha256:DIGEST") as raised:
        pin(name)
    assert repr(name) in str(raised.value)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "python",
        "python:3.11",
        f"trainer@{DIGEST}",
        "my-project/trainer",
        f"https://{NAME}",
        f"{NAME}:",
        f"{NAME}:-v1",
        f"{NAME}:{'v' * 129}",
        f"{NAME}:v1\n",
        f"{NAME}/",
        f"{NAME}//x",
        "gcr.io/My-Project/trainer",
        "gcr.io/a/../b",
        "gcr.io/a?b=c",
        "gcr.io/a b",
        "gcr.io/\N{FULLWIDTH LATIN SMALL LETTER A}/b",
        "$(whoami)/a:b",
    ],
)
def test_what_is_no_image_is_refused_with_the_way_to_write_one(name: str) -> None:
    with pytest.raises(ImageError, match="is not an image: expected") as raised:
        pin(name)
    assert repr(name) in str(raised.value)


@pytest.mark.parametrize(
    "digest", ["", "sha256:", DIGEST[:-1], f"{DIGEST}0", DIGEST.upper(), "sha256:" + "g" * 64, "md5:" + "0" * 64]
)
def test_a_digest_that_is_none_is_refused(digest: str) -> None:
    with pytest.raises(ImageError, match="has an invalid digest"):
        pin(f"{NAME}:v1@{digest}")


def test_the_registry_tells_the_digest_of_a_tag(registry: GoogleServer) -> None:
    registry.answers[f"{MANIFEST}/v1"] = FOUND
    assert pin(f"{NAME}:v1") == f"{NAME}@{DIGEST}"
    (asked,) = registry.asked
    assert asked.method == "HEAD"
    assert set(asked.headers["accept"].split(", ")) == {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    }


def index(*platforms: tuple[str, str]) -> Answer:
    """Answer as for an image that BuildKit pushed with its provenance."""
    manifests = [
        {"digest": f"sha256:{number:064d}", "platform": {"os": os, "architecture": architecture}}
        for number, (os, architecture) in enumerate(platforms)
    ]
    headers = {"Docker-Content-Digest": DIGEST, "Content-Type": "application/vnd.oci.image.index.v1+json"}
    return Answer({"manifests": manifests}, headers=headers)


@pytest.mark.parametrize("asked", [f"{NAME}:v1", f"{NAME}@{DIGEST}"], ids=["a tag", "a digest"])
def test_of_an_index_the_manifest_for_the_machines_of_vertex_ai_is_taken(registry: GoogleServer, asked: str) -> None:
    found = index(("linux", "arm64"), ("linux", "amd64"), ("unknown", "unknown"))
    registry.answers |= {f"{MANIFEST}/v1": found, f"{MANIFEST}/{DIGEST}": found}
    assert ask_registry(parse(asked)) == f"sha256:{1:064d}"


@pytest.mark.parametrize(
    "found", [index(("linux", "arm64")), Answer("[7]", headers=index().headers), Answer("{", headers=index().headers)]
)
def test_an_index_without_such_a_manifest_is_refused(registry: GoogleServer, found: Answer) -> None:
    registry.answers |= {f"{MANIFEST}/v1": found, f"{MANIFEST}/{DIGEST}": found}
    with pytest.raises(ImageError, match="gives '' as the digest"):
        ask_registry(parse(f"{NAME}:v1"))


def test_the_registry_is_asked_for_a_digest_where_there_is_one(registry: GoogleServer) -> None:
    registry.answers[f"{MANIFEST}/{DIGEST}"] = FOUND
    assert ask_registry(parse(f"{NAME}:v1@{DIGEST}")) == DIGEST


@pytest.mark.parametrize("passing", [Answer(status=429), Answer(status=503), HANG_UP])
def test_a_registry_that_stumbles_is_asked_again(registry: GoogleServer, passing: Answer) -> None:
    registry.answers[f"{MANIFEST}/v1"] = [passing, FOUND]
    assert ask_registry(parse(f"{NAME}:v1")) == DIGEST


@pytest.mark.parametrize(
    ("answer", "error", "line"),
    [
        (Answer(status=404), ImageError, f"image {NAME}:v1 does not exist (fix: push it first"),
        (
            Answer(status=401),
            ImageNotChecked,
            f"us-central1-docker.pkg.dev answered 401 for {NAME}:v1 (fix: check",
        ),
        (
            Answer(status=403),
            ImageNotChecked,
            f"us-central1-docker.pkg.dev answered 403 for {NAME}:v1 (fix: check",
        ),
        (Answer(status=503), ImageNotChecked, f"us-central1-docker.pkg.dev answered 503 for {NAME}:v1 (fix: try again"),
        (HANG_UP, ImageNotChecked, f"cannot look up image {NAME}:v1: no answer from http://127.0.0.1:"),
        (Answer(), ImageError, f"us-central1-docker.pkg.dev gives '' as the digest of {NAME}:v1: use REGISTRY/"),
        (
            Answer(headers={"Docker-Content-Digest": "sha256:1"}),
            ImageError,
            f"us-central1-docker.pkg.dev gives 'sha256:1' as the digest of {NAME}:v1: use REGISTRY/",
        ),
    ],
)
def test_without_a_digest_from_the_registry_the_image_is_refused(
    registry: GoogleServer, answer: Answer, error: type[ImageError], line: str
) -> None:
    registry.answers[f"{MANIFEST}/v1"] = answer
    with pytest.raises(ImageError) as raised:
        pin(f"{NAME}:v1")
    assert type(raised.value) is error
    assert str(raised.value).startswith(line)


def test_without_credentials_a_registry_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    with pytest.raises(
        ImageNotChecked, match=f"cannot look up image {NAME}:v1: no Google Cloud credentials: .*gcloud auth"
    ):
        ask_registry(parse(f"{NAME}:v1"))
