"""Provide the template from tracked files only, and projects baked from it."""

from pathlib import Path
from typing import Protocol

import pytest

from tests.paths import REPOSITORY
from tests.template import baking


class Bake(Protocol):
    def __call__(self, **answers: str) -> baking.BakedProject: ...


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return baking.copy_tracked(REPOSITORY, tmp_path_factory.mktemp("template"))


@pytest.fixture
def bake(template: Path, tmp_path: Path) -> Bake:
    def baked(**answers: str) -> baking.BakedProject:
        return baking.bake(template, tmp_path, answers)

    return baked


@pytest.fixture(scope="session")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> baking.BakedProject:
    """Bake the default answers once; tests only read the result."""
    return baking.bake(template, tmp_path_factory.mktemp("project"))
