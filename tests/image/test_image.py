"""Test what the image contains."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from tests.image.conftest import COMMIT, OWN, REPOSITORY, Build, copy_sources
from tests.image.engine import Engine
from tests.paths import PROJECT

pytestmark = pytest.mark.image
LARGEST_MB = 1100
COMPILERS = {"as", "c++", "cc", "clang", "g++", "gcc", "ld", "make", "nvcc"}


@pytest.fixture(scope="module")
def files(engine: Engine, image: str) -> list[PurePosixPath]:
    """Return every file of the image, as root sees them."""
    found = engine.run(image, "/", "-xdev", "(", "-type", "f", "-o", "-type", "l", ")", entrypoint="find", user="0")
    return [PurePosixPath(line) for line in found.splitlines()]


def test_it_runs_as_a_user_without_rights_in_a_folder_of_its_own(engine: Engine, image: str) -> None:
    assert engine.inspect(image)["Config"]["User"] == "10001:10001"  # Kubernetes cannot check a name
    program = "import os; open('mine', 'w').close(); print(os.getuid(), os.access('/opt/project', os.W_OK))"
    assert engine.run(image, "-c", program, entrypoint="python") == "10001 False\n"


def test_its_labels_name_the_commit_and_the_repository(engine: Engine, image: str) -> None:
    labels = engine.inspect(image)["Labels"]
    named = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    assert (named["revision"], named["source"]) == (COMMIT, REPOSITORY)
    assert named["title"]
    assert named["description"]


def test_it_has_no_compiler(files: list[PurePosixPath]) -> None:
    assert not [file for file in files if file.name.rpartition("-")[2] in COMPILERS and "bin" in file.parts]


def test_what_installed_it_is_not_in_it(files: list[PurePosixPath]) -> None:
    venv = {file.parts[6] for file in files if file.match("/opt/venv/lib/python3.11/site-packages/*/*")}
    assert "torch" in venv
    assert not {"pip", "hatchling", "wheel"} & venv
    assert not [file for file in files if ".cache" in file.parts or file.name == "cpu.txt"]


def test_of_the_project_it_has_what_trains_and_nothing_else(files: list[PurePosixPath]) -> None:
    ours = {file.relative_to("/opt/project").as_posix() for file in files if file.is_relative_to("/opt/project")}
    trains = [PROJECT / "task", *(PROJECT / "src/spot" / name for name in ("core", "storage", "trainer"))]
    wanted = [file for folder in trains for file in folder.rglob("*") if "__pycache__" not in file.parts]
    listed = {file.relative_to(PROJECT).as_posix() for file in wanted if file.is_file()}
    assert ours == {*listed, "src/spot/__init__.py", OWN}
    assert not [file for file in files if ".git" in file.parts]


def test_it_is_small(engine: Engine, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    size_mb = engine.inspect(image)["Size"] / 1e6
    with capsys.disabled():
        print(f"\nthe image has {size_mb:.0f} MB")
    assert size_mb < LARGEST_MB


def test_a_changed_task_is_one_new_layer(engine: Engine, image: str, build: Build, tmp_path: Path) -> None:
    copy_sources(tmp_path)
    with (tmp_path / "task" / "model.py").open("a") as model:
        model.write("# changed\n")
    build(tmp_path, "localhost/trainer-changed")
    before, after = (engine.inspect(tag)["RootFS"]["Layers"] for tag in (image, "localhost/trainer-changed"))
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]
