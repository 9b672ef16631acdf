"""Test that the digest of the sources changes with each file of the image, and with no other."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from spot.github.images import sources_digest as digest
from tests.paths import PROJECT

IN_IMAGE = [
    "Dockerfile",
    ".dockerignore",
    "locks/cuda.txt",
    "locks/cu126.txt",
    "task/model.py",
    "task/sample/table.csv",
    "src/spot/__init__.py",
    "src/spot/core/clock.py",
    "src/spot/storage/records/lease.py",
    "src/spot/trainer/loop.py",
    "src/churn/layers.py",
    "src/helper.py",
]
ELSEWHERE = [
    "spot.toml",
    "README.md",
    "locks/spot.txt",
    "src/README.md",
    "src/spot/supervisor/submit.py",
    "task/__pycache__/model.cpython-311.pyc",
    ".git/index",
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in [*IN_IMAGE, *ELSEWHERE]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    return tmp_path


@pytest.mark.parametrize("name", [*IN_IMAGE, *ELSEWHERE])
def test_only_files_of_the_image_change_the_digest(checkout: Path, name: str) -> None:
    before = digest(checkout)
    os.utime(checkout / name, (1, 1))
    assert digest(checkout) == before
    (checkout / name).write_text("2")
    assert (digest(checkout) != before) == (name in IN_IMAGE)
    (checkout / name).unlink()
    assert (digest(checkout) != before) == (name in IN_IMAGE)


def test_a_renamed_file_is_another_source(checkout: Path) -> None:
    before = digest(checkout)
    (checkout / "task/model.py").rename(checkout / "task/net.py")
    assert digest(checkout) != before


def test_the_files_are_those_that_the_build_copies() -> None:
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    supervisor = text[text.index("AS supervisor") : text.index("AS sources")]
    copied = re.findall(r"^COPY (?!--from)(\S+)", text.replace(supervisor, ""), re.MULTILINE)
    assert copied == ["locks/${BUILD}.txt", "src", "task"]
    kept = re.findall(r"! -name (\S+)", text)
    assert kept == ["__init__.py", "core", "storage", "trainer"]
    rules = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert rules[1:] == ["*", "!locks", "!spot.toml", "!src", "src/*.md", "!task", "**/__pycache__"]
