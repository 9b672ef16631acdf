"""Make the example of docs/example from a baked project: `python -m tests.template.example FOLDER`."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text
from rich.tree import Tree

from tests.paths import REPOSITORY
from tests.template.baking import bake, copy_tracked

BUCKET = "gs://my-project-training/spot-training"
KEPT = re.compile(r"\S+/kept/project")
OLD_PRICES = re.compile(r"note +prices of \S+ are \d+ days old.*\n")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LEAST_COLUMNS = 80


def main() -> None:
    """Write the texts and pictures. That of the report is made anew only if the report changed."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        project = bake(copy_tracked(REPOSITORY, Path(scratch) / "template"), Path(scratch)).folder
        picture(folder / "project.svg", "cookiecutter gh:org/spot-template", tree(project))
        kept, report = Path(scratch) / "kept", Path(scratch) / "report.html"
        rehearsed = run(project, "spot.demo", "--keep", str(kept), "--html", str(report))
        [record] = kept.glob("*/runs/closed/*/*/*.json")
        summary = run(
            project, "spot.cli.main", "report", record.stem, "--settings", str(kept / "spot.toml"), "--markdown"
        )
        picture(folder / "rehearsal.svg", "spot rehearse", Text(rehearsed))
        picture(folder / "forecast.svg", "spot forecast", Text(run(project, "spot.cli.main", "forecast")))
        (folder / "summary.md").write_text(KEPT.sub(BUCKET, summary), encoding="utf-8")
        page = report.read_text(encoding="utf-8")
        if not (folder / "report.html").exists() or page != (folder / "report.html").read_text(encoding="utf-8"):
            (folder / "report.html").write_text(page, encoding="utf-8")
            photograph(folder / "report.html", folder / "report.png")


def run(project: Path, module: str, *arguments: str) -> str:
    """Return what a program of the project prints."""
    env = {**os.environ, "PYTHONPATH": str(project / "src")}
    command = (sys.executable, "-m", module, *arguments)
    done = subprocess.run(command, cwd=project, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return OLD_PRICES.sub("", done.stdout).strip("\n") + "\n"


def tree(project: Path) -> Tree:
    """Return the files of a project; those of the machinery are counted."""
    root = Tree(project.name)
    for path in sorted(project.iterdir(), key=lambda path: (path.is_file(), path.name)):
        if path.name == "src":
            files = [file for file in path.rglob("*") if file.is_file()]
            root.add(f"src/spot  ({len(files)} files, updated by cruft)")
            continue
        branch = root.add(path.name)
        for inner in sorted(path.iterdir()) if path.is_dir() else ():
            branch.add(inner.name)
    return root


def picture(path: Path, title: str, content: Text | Tree) -> None:
    columns = max(map(len, str(content).splitlines())) if isinstance(content, Text) else 0
    console = Console(record=True, width=max(columns, LEAST_COLUMNS), file=StringIO(), force_terminal=True)
    console.print(content)
    svg = console.export_svg(title=title, theme=MONOKAI, unique_id=path.stem)
    path.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")


def photograph(page: Path, path: Path) -> None:
    """Take a picture of a page, where a browser is installed."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no browser: {path} is not made anew", file=sys.stderr)
        return
    flags = ("--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1100,1900", f"--screenshot={path}")
    subprocess.run([browser, *flags, page.resolve().as_uri()], check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
