"""Bake a project from the repository's tracked files, whatever else lies there or in the user's home.

python tests/baking.py FOLDER
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cookiecutter.main import cookiecutter

REPOSITORY = Path(__file__).parents[2]
PROJECT = "<<cookiecutter.project_slug>>"
RENDERED = (".github/workflows/retrain.yml", "README.md", "spot.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class BakedProject:
    """A generated project, as a user has it."""

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
    paths = [path for path in listed.stdout.split("\0") if path]
    if not paths:
        raise FileNotFoundError(f"git tracks no file in {repository}: git add what you have, then try again")
    return paths


def copy_tracked(repository: Path, destination: Path) -> Path:
    for path in tracked(repository):
        target = destination / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repository / path, target)
    return destination


def bake(template: Path, output: Path, answers: Mapping[str, str] | None = None) -> BakedProject:
    """What `cookiecutter template` writes below `output`, its own records kept out of the user's home."""
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
