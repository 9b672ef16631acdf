"""Bake a project from the tracked files of the repository: `python -m tests.template.baking FOLDER`."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cookiecutter.main import cookiecutter

from tests.paths import PROJECT as SOURCE
from tests.paths import REPOSITORY

PROJECT = SOURCE.name
RENDERED = (".github/workflows/retrain.yml", ".github/workflows/supervise.yml", "README.md", "spot.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class BakedProject:
    """Hold a generated project."""

    folder: Path

    def files(self) -> dict[str, bytes]:
        return contents(self.folder)

    def has(self, path: str) -> bool:
        return (self.folder / path).exists()

    def read(self, path: str) -> str:
        return (self.folder / path).read_text(encoding="utf-8")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def tracked(repository: Path) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=True)
    paths = [path for path in listed.stdout.split("\0") if path and (repository / path).is_file()]
    if not paths:
        raise FileNotFoundError(f"git tracks no file in {repository}: run git add, then try again")
    return paths


def copy_tracked(repository: Path, destination: Path) -> Path:
    for path in tracked(repository):
        target = destination / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repository / path, target)
    return destination


def bake(template: Path, output: Path, answers: Mapping[str, str] | None = None) -> BakedProject:
    """Run cookiecutter without questions, and keep its records out of the home folder."""
    with tempfile.TemporaryDirectory() as own:
        settings = Path(own, "cookiecutter.yaml")
        settings.write_text(f"cookiecutters_dir: '{own}'\nreplay_dir: '{own}'\n", encoding="utf-8")
        folder = cookiecutter(
            str(template),
            no_input=True,
            extra_context=dict(answers or {}),
            output_dir=str(output),
            config_file=str(settings),
        )
    return BakedProject(folder=Path(folder))


def main(output: str) -> None:
    with tempfile.TemporaryDirectory() as template:
        bake(copy_tracked(REPOSITORY, Path(template)), Path(output))


if __name__ == "__main__":
    main(sys.argv[1])
