"""Build the image for machines without a GPU, once per session."""

from __future__ import annotations

import os
import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from spot.storage import paths
from spot.storage.factory import open_store
from spot.storage.records import manifest
from spot.storage.records.manifest import Manifest
from tests.image import base
from tests.image.engine import Container, Engine, missing
from tests.machinery.spot_toml import GOOD
from tests.paths import PROJECT

IMAGE = "localhost/trainer"
OWN = "src/own/__init__.py"
# A constant: buildah 1.28 takes labels from its cache even if their argument changed.
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "https://github.com/acme/training"


class Build(Protocol):
    def __call__(self, folder: Path, tag: str, target: str | None = None) -> None: ...


@pytest.fixture(scope="session")
def engine() -> Engine:
    if reason := missing():
        pytest.skip(reason)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Engine(Path(cache) / "spot-training-image")


@pytest.fixture(scope="session")
def build(engine: Engine) -> Build:
    """Return a function that builds the project in a folder under a tag: the trainer, or another target."""
    volumes = base.make(engine)
    index = runpy.run_path(str(PROJECT / "noxfile.py"))["torch_index"]()
    given = {
        "TORCH_INDEX": index[-1] if index else "",
        "COMMIT": COMMIT,
        "REPOSITORY": REPOSITORY,
    }
    [pinned] = set(re.findall(r"^FROM (\S+@sha256:[0-9a-f]{64})", (PROJECT / "Dockerfile").read_text(), re.MULTILINE))
    contexts = {pinned: base.BASE}

    def built(folder: Path, tag: str, target: str | None = None) -> None:
        arguments = given | {"BUILD": "spot" if target else "cpu"}
        engine.build(folder, tag, arguments=arguments, volumes=volumes, contexts=contexts, target=target)

    return built


def copy_sources(folder: Path) -> Path:
    """Copy what an image is built from, with a package of the user's own."""
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(PROJECT / name, folder)
    (folder / "spot.toml").write_text(GOOD, encoding="utf-8")
    for name in ("locks", "src", "task"):
        shutil.copytree(PROJECT / name, folder / name)
    (folder / OWN).parent.mkdir()
    (folder / OWN).touch()
    return folder


@pytest.fixture(scope="session")
def image(build: Build, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the tag of the image."""
    build(copy_sources(tmp_path_factory.mktemp("sources")), IMAGE)
    return IMAGE


class Training:
    """Start containers that train one run at `uri`."""

    def __init__(self, engine: Engine, image: str, uri: str, emulator: str) -> None:
        self._engine, self._image, self.uri = engine, image, uri
        self._environ = {"STORAGE_EMULATOR_HOST": emulator, "NO_GCE_CHECK": "true", "OMP_NUM_THREADS": "1"}

    @property
    def flags(self) -> list[str]:
        """Return flags with a long interval, so that only SIGTERM causes a checkpoint."""
        where = ["--output-dir", f"{self.uri}/models", "--checkpoint-dir", f"{self.uri}/checkpoints"]
        return [*where, "--epochs", "10", "--checkpoint-interval", "3600", "--log-interval", "0.05"]

    def start(self, *more: str, image: str | None = None, flags: bool = True) -> Container:
        arguments = [*self.flags, *more] if flags else []
        return self._engine.start(image or self._image, *arguments, environ=self._environ)

    def newest(self) -> Manifest | None:
        return manifest.newest(open_store(f"{self.uri}/checkpoints"), "default")

    def result(self) -> tuple[bytes, bytes]:
        """Return weights and metrics."""
        store = open_store(f"{self.uri}/models")
        weights, metrics = (store.read(paths.output("default", name)) for name in (paths.MODEL, paths.METRICS))
        return weights.data, metrics.data


@pytest.fixture
def training(engine: Engine, image: str, gs_uri: str, emulator_url: str) -> Training:
    return Training(engine, image, gs_uri, emulator_url)


@pytest.fixture
def undisturbed(engine: Engine, image: str, gs_uri: str, emulator_url: str) -> Iterator[tuple[Training, Container]]:
    """Start a training that no signal interrupts."""
    training = Training(engine, image, f"{gs_uri}-undisturbed", emulator_url)
    with training.start() as container:
        yield training, container
