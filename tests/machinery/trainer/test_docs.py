"""Test that every example of the documentation passes the project's suite, which stops, kills and resumes it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import examples, put
from tests.paths import REPOSITORY
from tests.template.baking import bake, copy_tracked

PAGES = ("bring-your-model.md", "bring-your-loop.md")
EXAMPLES = {f"{page}-{number}": found for page in PAGES for number, found in enumerate(examples(page))}
TESTS = ("test_model.py", "test_data.py", "test_resume.py", "test_settings.py")


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    return bake(copy_tracked(REPOSITORY, folder / "template"), folder).folder


@pytest.mark.processes
@pytest.mark.timeout(600)
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_resumes_bit_for_bit_and_passes_the_suite(example: str, baked: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(baked, tmp_path / "project")
    put(EXAMPLES[example], folder)
    tests = [f"tests/{name}" for name in TESTS if name != "test_model.py" or "task/model.py" in EXAMPLES[example]]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


@pytest.mark.processes
def test_max_steps_ends_a_loop_of_the_users_own(baked: Path, tmp_path: Path) -> None:
    """The project's suite shortens every loop with this flag."""
    folder = shutil.copytree(baked, tmp_path / "project")
    put(EXAMPLES["bring-your-loop.md-0"], folder)
    environ = {**os.environ, "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder}"}
    command = [sys.executable, "-m", "task", "--max-steps", "3", "--batch-size", "2"]
    subprocess.run(command, cwd=folder, env=environ, capture_output=True, check=True)

    assert json.loads((folder / "output/models/default/metrics.json").read_text())["steps"] == 3


def test_the_pages_have_examples() -> None:
    """An example that is not extracted would not be tested."""
    assert len(EXAMPLES) == 3
    assert all("task/data.py" in example for example in EXAMPLES.values())


def test_the_session_needs_at_most_twelve_lines_in_a_loop() -> None:
    loop = EXAMPLES["bring-your-loop.md-0"]["task/train.py"]
    assert len(re.findall(r"^.*\b[Ss]ession\b.*$", loop, re.MULTILINE)) <= 12 + 1  # and the import
