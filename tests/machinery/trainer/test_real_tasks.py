"""Test that tasks of several shapes, interrupted at any point, give the same weights, metrics and order of samples."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BUCKET
from tests.machinery.interrupt import Point, at
from tests.machinery.tasks.shards.data import LIMIT_BYTES, write
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.zygote import Zygote
from tests.paths import PROJECT

TASKS = "tests.machinery.tasks"
SIGNALS = (signal.SIGTERM, signal.SIGKILL)
STORES = ("local", "gs")
POINTS = [point for point in Point if point is not Point.COMPARISON]
"""Those that a run without a champion reaches."""
ALWAYS = ("--checkpoint-interval", "0.0001", "--log-interval", "1000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Describe the training of a task."""

    package: str
    flags: Sequence[str]
    folder: Path | None = None

    def at(self, zygote: Zygote, uri: str) -> Trainer:
        """Return the trainer of this task at `uri`."""
        return Trainer(zygote, uri, {"STEP_S": "0"}, self.package, self.folder)


CASES = {
    "sample": Case(package="task", folder=PROJECT, flags=("--epochs", "2", "--batch-size", "360")),
    "gpt": Case(
        package=f"{TASKS}.gpt",
        flags=("--precision", "bf16", "--epochs", "2", "--batch-size", "16", "--evaluate-every", "4"),
    ),
    "regression": Case(
        package=f"{TASKS}.regression",
        flags=("--epochs", "2", "--batch-size", "32", "--accumulate", "4", "--ema", "0.9", "--patience", "2"),
    ),
    "shards": Case(package=f"{TASKS}.shards", flags=("--epochs", "2", "--batch-size", "30", "--workers", "1")),
    "loop": Case(package="task", flags=("--steps", "20", "--batch-size", "8")),
}
QUICK = {
    (case, SIGNALS[index % 2], STORES[index // 2 % 2], POINTS[(index + index // 4) % 4])
    for index, case in enumerate(CASES)
}
"""Every value of each parameter."""


@pytest.fixture(scope="module")
def cases(emulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:  # noqa: ARG001
    """Return all cases, with their data and the files of the documentation in place."""
    folder, data = tmp_path_factory.mktemp("loop"), f"gs://{BUCKET}/{tmp_path_factory.mktemp('shards').name}"
    extract_loop(folder)
    write(data)
    loop, shards = CASES["loop"], CASES["shards"]
    return {
        **CASES,
        "loop": replace(loop, folder=folder),
        "shards": replace(shards, flags=(*shards.flags, "--data", f"{data}/")),
    }


def extract_loop(folder: Path) -> None:
    """Write the files that the documentation shows for a loop of one's own."""
    page = (PROJECT / "docs/bring-your-loop.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"\n## [^\n]*`(task/\w+\.py)`\n.*?```python\n(.*?)```", page, re.DOTALL))
    assert {"task/__main__.py", "task/config.py", "task/data.py", "task/train.py"} <= files.keys()
    (folder / "task/sample").mkdir(parents=True)
    (folder / "task/__init__.py").touch()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "task/sample/text.txt").write_text(page[:6000], encoding="utf-8")


@pytest.fixture(scope="module")
def results(zygote: Zygote, cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that returns the result of a case without interruption."""
    found: dict[str, tuple[bytes, bytes]] = {}

    def result(name: str) -> tuple[bytes, bytes]:
        if name not in found:
            folder = tmp_path_factory.mktemp(name)
            process = (trainer := cases[name].at(zygote, str(folder))).start(*_flags(cases[name], folder))
            assert process.wait() == 0, process.output + process.errors
            found[name] = trainer.result()
        return found[name]

    return result


@pytest.mark.parametrize(
    ("name", "number", "uri", "point"),
    [
        pytest.param(
            *values,
            marks=() if values in QUICK else pytest.mark.chaos,
            id="-".join((values[0], values[1].name, values[2], values[3])),
        )
        for values in product(CASES, SIGNALS, STORES, POINTS)
    ],
    indirect=["uri"],
)
def test_an_interruption_at_any_point_leaves_no_trace(
    name: str,
    number: signal.Signals,
    uri: str,
    point: Point,
    zygote: Zygote,
    cases: dict[str, Case],
    results: Any,
    tmp_path: Path,
) -> None:
    flags, marker = _flags(cases[name], tmp_path), tmp_path / "interrupted"
    trainer = cases[name].at(zygote, uri)
    interrupted = trainer.start(*flags, **at(point, number, marker))
    expected = 143 if number is signal.SIGTERM else -number
    assert interrupted.wait() == expected, interrupted.output + interrupted.errors
    assert marker.exists()
    assert not trainer.complete()
    newest = trainer.newest()
    if number is signal.SIGTERM and point is Point.BATCH:
        assert newest is not None
        assert newest.step == 1
    resumed = trainer.start(*flags, **at(point, number, marker))
    assert resumed.wait() == 0, resumed.output + resumed.errors
    assert ("resumed from" in resumed.output) == (newest is not None)
    assert trainer.result() == results(name)
    if name == "shards":
        kept = [path.stat().st_size for path in (tmp_path / "cache").rglob("*.bin")]
        assert 0 < sum(kept) < LIMIT_BYTES + 2 * max(kept)


def _flags(case: Case, folder: Path) -> list[str]:
    own = ("--cache", str(folder / "cache")) if case.package.endswith("shards") else ()
    return [*ALWAYS, *case.flags, *own]


def test_max_steps_ends_a_loop_of_the_users_own(zygote: Zygote, cases: dict[str, Case], tmp_path: Path) -> None:
    """The project's suite shortens every loop with this flag."""
    trainer = cases["loop"].at(zygote, str(tmp_path))
    process = trainer.start("--max-steps", "3", "--batch-size", "2")
    assert process.wait() == 0, process.output + process.errors
    assert json.loads(trainer.result()[1])["steps"] == 3


def test_a_loop_of_your_own_needs_a_dozen_lines_of_the_session(tmp_path: Path) -> None:
    extract_loop(tmp_path)
    lines = (tmp_path / "task/train.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if "session" in line]) <= 12
