"""Test that a skipped test fails the run in CI only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import REPOSITORY


@pytest.mark.parametrize(("ci", "test", "status"), [("true", "skip", 1), ("", "skip", 0), ("true", "pass", 0)])
def test_a_skip_fails_the_run_only_in_ci(ci: str, test: str, status: int, tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "import pytest\ndef test_skip():\n    pytest.skip()\ndef test_pass():\n    pass\n",
        encoding="utf-8",
    )

    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            os.devnull,
            "--rootdir",
            str(tmp_path),
            "-p",
            "tests.skips",
            "-k",
            test,
            ".",
        ],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(REPOSITORY), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == status, result.stdout + result.stderr
