"""Test that the locks name exact files for both builds, and nothing of the machine that made them."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.machinery.google.google_server import Answer, google_server
from tests.paths import PROJECT

BUILDS = ("cpu", "cuda", "spot")
PIN = re.compile(r"(\S+)==(\S+) \\((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)\n")


def pins(text: str) -> dict[str, str]:
    return {name: version for name, version, _ in PIN.findall(text)}


def lock(build: str) -> dict[str, str]:
    return pins((PROJECT / "locks" / f"{build}.txt").read_text())


@pytest.mark.parametrize("build", BUILDS)
def test_every_line_is_a_version_with_hashes(build: str) -> None:
    lines = (PROJECT / "locks" / f"{build}.txt").read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("#"))
    assert text
    assert PIN.sub("", text) == "", "a URL, a path, or a package without a hash"


@pytest.mark.parametrize("build", BUILDS)
def test_versions_are_those_that_everything_else_is_tested_with(build: str) -> None:
    constraints = dict(line.split("==") for line in (PROJECT / "constraints.txt").read_text().split() if "==" in line)
    locked = lock(build)
    apart = {name for name, version in locked.items() if constraints.get(name, version) != version.partition("+")[0]}
    assert not apart, "run nox -s lock"


def test_only_the_cuda_build_has_cuda() -> None:
    cpu, cuda = lock("cpu"), lock("cuda")
    assert cpu["torch"] == f"{cuda['torch']}+cpu"
    more = set(cuda) - set(cpu)
    assert set(cpu) <= set(cuda)
    assert more
    assert all(name.startswith(("cuda-", "nvidia-", "triton")) for name in more)


def test_a_lock_for_older_drivers_is_written_only_where_pytorchs_index_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = importlib.util.spec_from_file_location("project_nox", PROJECT / "noxfile.py")
    assert loader
    assert loader.loader
    project = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(project)
    with google_server() as server:
        server.answers["/whl/cu126/torch/"] = Answer()
        monkeypatch.setenv("TORCH_INDEX", f"{server.url}/whl/cpu")
        assert project.cu126_index() == f"{server.url}/whl/cu126"
        server.answers.clear()
        assert project.cu126_index() == ""
    assert project.cu126_index() == ""
    monkeypatch.setenv("TORCH_INDEX", "")
    assert project.cu126_index() == ""
