"""Replace the task by the regression of the documentation: every check of the project passes, unchanged.

The suite must also catch the two mistakes that break exact resume.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.paths import REPOSITORY
from tests.template.baking import BakedProject
from tests.template.conftest import Bake

pytestmark = [pytest.mark.baked, pytest.mark.timeout(1200)]

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


def replaced(bake: Bake, *, change_model: Callable[[str], str] = str, change_data: Callable[[str], str] = str) -> Path:
    """Bake a project and put the two files of docs/bring-your-model.md and its sample in place."""
    project: BakedProject = bake()
    page = project.read("docs/bring-your-model.md")
    model, data = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[:2]
    (project.folder / "task/model.py").write_text(change_model(model), encoding="utf-8")
    (project.folder / "task/data.py").write_text(change_data(data), encoding="utf-8")
    for path in (project.folder / "task/sample").iterdir():
        path.unlink()
    rows = [[index / 50 - 2, (index * 7 % 50) / 25 - 1, (index * 13 % 40) / 20 - 1] for index in range(200)]
    table = "\n".join(",".join(f"{value:.4f}" for value in [*row, sum(row)]) for row in rows)
    (project.folder / "task/sample/table.csv").write_text(table + "\n", encoding="utf-8")
    return project.folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "CI", "VIRTUAL_ENV"}}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def run_suite(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    return run(folder, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)


def test_the_test_command_of_the_readme_passes_after_the_task_was_replaced(bake: Bake) -> None:
    folder = replaced(bake)
    environments = REPOSITORY / ".nox/project"  # shared with `nox -s demo`: PyTorch is large
    environments.mkdir(parents=True, exist_ok=True)
    (folder / ".nox").symlink_to(environments)
    [command] = re.findall(r"^python3 -m venv .*bin/nox$", (folder / "README.md").read_text(), re.MULTILINE)
    done = run(folder, "bash", "-euo", "pipefail", "-c", command)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_suite_passes_with_the_task_that_is_baked(bake: Bake) -> None:
    done = run_suite(bake().folder)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_suite_catches_data_from_a_global_generator(bake: Bake) -> None:
    folder = replaced(bake, change_data=lambda text: text.replace(*GLOBAL_GENERATOR))
    done = run_suite(folder, "tests/test_data.py", "tests/test_resume.py")

    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"FAILED tests/test_resume.py", done.stdout), done.stdout
    assert re.search(r"FAILED tests/test_data.py", done.stdout), done.stdout


def test_the_suite_catches_state_outside_the_state_dict(bake: Bake) -> None:
    folder = replaced(bake, change_model=lambda text: text.replace(*STATE_OUTSIDE) + DRIFTING)
    done = run_suite(folder, "tests/test_resume.py")

    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"FAILED tests/test_resume.py", done.stdout), done.stdout
