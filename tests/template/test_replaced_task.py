"""Replace the task by the regression and the loop of the documentation: every check of the project passes, unchanged.

The suite must also catch the mistakes that break exact resume.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.pages import examples, put
from tests.paths import REPOSITORY
from tests.template.conftest import Bake

pytestmark = [pytest.mark.baked, pytest.mark.timeout(1200)]

REGRESSION, TEXT = examples("bring-your-model.md")
[LOOP] = examples("bring-your-loop.md")
GLOBAL_GENERATOR = ("sample.generator().gauss(0, self._noise)", "float(torch.randn(())) * self._noise")
STATE_OUTSIDE = (
    "return nn.Sequential(",
    "return Drifting(",
)
DRIFTING = '''

class Drifting(nn.Sequential):
    """Keep a count that no `state_dict` holds."""

    calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += self.training
        outputs: Tensor = super().forward(inputs)
        return outputs * (1 + 0.01 * (self.calls % 7))
'''


def replaced(bake: Bake, example: Mapping[str, str], **changes: Callable[[str], str]) -> Path:
    """Bake a project and put an example in place, its files of these names changed."""
    project = bake()
    put({name: changes.get(Path(name).stem, str)(text) for name, text in example.items()}, project.folder)
    return project.folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "CI", "VIRTUAL_ENV"}}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def run_suite(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    return run(folder, sys.executable, "-m", "pytest", "-q", *tests)


def test_the_test_command_of_the_readme_passes_after_the_task_was_replaced(bake: Bake) -> None:
    folder = replaced(bake, REGRESSION)
    environments = REPOSITORY / ".nox/project"  # shared with `nox -s demo`: PyTorch is large
    environments.mkdir(parents=True, exist_ok=True)
    (folder / ".nox").symlink_to(environments)
    [command] = re.findall(r"^python3 -m venv .*bin/nox$", (folder / "README.md").read_text(), re.MULTILINE)
    done = run(folder, "bash", "-euo", "pipefail", "-c", command)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_suite_passes_with_the_task_that_is_baked(bake: Bake) -> None:
    done = run_suite(bake().folder)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_suite_passes_with_the_data_set_of_many_files(bake: Bake) -> None:
    done = run_suite(replaced(bake, TEXT))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


def test_every_check_passes_with_a_loop_of_the_users_own(bake: Bake) -> None:
    folder = replaced(bake, LOOP)
    for check in (["ruff", "format", "--check", "."], ["ruff", "check", "."], ["pytest", "-q"]):
        done = run(folder, sys.executable, "-m", *check)

        assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


def test_the_suite_catches_a_loop_that_does_not_track_what_changes(bake: Bake) -> None:
    folder = replaced(bake, LOOP, train=lambda text: text.replace(', "ema": ema', ""))
    done = run_suite(folder, "tests/test_resume.py")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "model.safetensors" in done.stdout


def test_the_suite_catches_data_from_a_global_generator(bake: Bake) -> None:
    folder = replaced(bake, REGRESSION, data=lambda text: text.replace(*GLOBAL_GENERATOR))
    done = run_suite(folder, "tests/test_data.py", "tests/test_resume.py")

    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"FAILED tests/test_resume.py", done.stdout), done.stdout
    assert re.search(r"FAILED tests/test_data.py", done.stdout), done.stdout


def test_the_suite_catches_state_outside_the_state_dict(bake: Bake) -> None:
    folder = replaced(bake, REGRESSION, model=lambda text: text.replace(*STATE_OUTSIDE) + DRIFTING)
    done = run_suite(folder, "tests/test_resume.py")

    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"FAILED tests/test_resume.py", done.stdout), done.stdout
