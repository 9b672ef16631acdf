"""The template from tracked files only, and projects baked from it. In CI a skipped test fails the run."""

import os
from pathlib import Path
from typing import Protocol

import baking
import pytest


class Bake(Protocol):
    def __call__(self, **answers: str) -> baking.BakedProject: ...


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return baking.copy_tracked(baking.REPOSITORY, tmp_path_factory.mktemp("template"))


@pytest.fixture
def bake(template: Path, tmp_path: Path) -> Bake:
    def baked(**answers: str) -> baking.BakedProject:
        return baking.bake(template, tmp_path, answers)

    return baked


@pytest.fixture(scope="session")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> baking.BakedProject:
    """The project of the default answers, to read and not to change."""
    return baking.bake(template, tmp_path_factory.mktemp("project"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
