"""Set a project up in a cloud on loopback, with the real gcloud, once per module."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.infra.cloud import Cloud
from tests.infra.cloud_server import served
from tests.infra.scripts import Project
from tests.infra.world import EMAIL, NEIGHBOUR, SOMEBODY, Step, World


@pytest.fixture(scope="session")
def gcloud() -> None:
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is missing: install google-cloud-cli from Google's own apt repository")


@pytest.fixture(scope="module")
def world(gcloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:  # noqa: ARG001
    cloud = Cloud(accounts={NEIGHBOUR: {"email": NEIGHBOUR}})
    cloud.policies["acme-ml"] = {"bindings": [{"role": SOMEBODY[1], "members": [SOMEBODY[2]]}], "etag": "AAAA"}
    with served(cloud) as url:
        yield World(Project.at(tmp_path_factory.mktemp("project"), cloud_url=url), cloud)


@pytest.fixture(scope="module")
def fresh(world: World) -> Step:
    """Bootstrap while a new account has not propagated."""
    world.project.program("sleep")
    world.cloud.not_yet_known = 1
    return world.step("bootstrap.sh", *EMAIL)
