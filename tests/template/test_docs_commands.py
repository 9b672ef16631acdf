"""Run every shell block of the project's README and docs as it is written, in a baked project.

Commands that need no cloud run for real. Programs that need the cloud, a container engine or a new environment are
stubs, which check what they can: a script exists and has its flags, `spot` and the trainer accept their arguments.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.paths import PROJECT
from tests.template.baking import BakedProject, bake

pytestmark = pytest.mark.baked

PAGES = {path.name: path for path in (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))}
BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)

ANSWERS = """
case "$1 $2" in
    "variable get") echo us-docker.pkg.dev/acme/images ;;
    "rev-parse HEAD") echo 0123456789abcdef0123456789abcdef01234567 ;;
esac
"""
SCRIPTS = """
[ -f "$1" ]
for word in "${@:2}"; do
    [[ $word != --* ]] || grep -qE -e "$word([^a-z-]|$)" "$1" infra/common.sh || exit 2
done
"""
SPOT = """
case "$1" in
    forecast) set -- "$@" --replays 10 ;;
    submit | reconcile | watch | status | cancel | logs | report | export | doctor | verify-live | rehearse)
        exec PYTHON PARSER "$@"
        ;;
    models | champion)
        exec PYTHON PARSER "$@"
        ;;
    prices) [[ " $* " != *" --refresh "* ]] || exec PYTHON PARSER "$@" ;;
esac
exec PYTHON -m spot.cli.main "$@"
"""
PYTHON = """
[ "$1 $2" != "-m task" ] || set -- "$@" --max-steps 2
exec PYTHON "$@"
"""
PARSER = """
import argparse, runpy, sys

def parse(*arguments, parse=argparse.ArgumentParser.parse_args, **options):
    parse(*arguments, **options)
    sys.exit(0)

argparse.ArgumentParser.parse_args = parse
rehearses = sys.argv[1] == "rehearse"
sys.argv[1 : 1 + rehearses] = []
runpy.run_module("spot.demo" if rehearses else "spot.cli.main", run_name="__main__")
"""
STUBS = {
    "bash": SCRIPTS,
    "python": PYTHON,
    "spot": SPOT,
    **dict.fromkeys(("docker", "gcloud", "gh", "git", "nox", "pipx", "python3"), ANSWERS),
}


def blocks(page: Path) -> list[str]:
    """Return the shell blocks of a page, without the indentation of a list."""
    return [textwrap.dedent(block) for block in BLOCK.findall(page.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def baked(template: Path, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """Bake a project with stubs in its environments."""
    folder = tmp_path_factory.mktemp("docs")
    project = bake(template, folder)
    programs = folder / "programs"
    (folder / "parser.py").write_text(PARSER, encoding="utf-8")
    for name, text in STUBS.items():
        write(programs / name, text.replace("PYTHON", sys.executable).replace("PARSER", str(folder / "parser.py")))
    for path in (".venv/bin/nox", ".venv/bin/pip"):
        write(project.folder / path, ANSWERS)
    write(project.folder / ".nox/environment/bin/activate", f'PATH="{programs}:$PATH"\n')
    return project


@pytest.fixture
def project(baked: BakedProject, request: pytest.FixtureRequest) -> BakedProject:
    """Copy the baked project, so that a page finds nothing of the pages before it."""
    copy = shutil.copytree(baked.folder, baked.folder.with_name(re.sub(r"\W+", "-", request.node.name)))
    return BakedProject(folder=copy)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\nset -e\n{text}", encoding="utf-8")
    path.chmod(0o755)


def run(project: BakedProject, block: str) -> subprocess.CompletedProcess[str]:
    programs = project.folder.parent / "programs"
    return subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", block],
        cwd=project.folder,
        env={
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": f"{project.folder / 'src'}:{project.folder}",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs_as_written(page: str, project: BakedProject) -> None:
    for block in blocks(PAGES[page]):
        done = run(project, block)

        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


def test_the_pages_have_commands() -> None:
    assert {page for page in PAGES if not blocks(PAGES[page])} == {"settings.md"}


@pytest.mark.parametrize(
    "block",
    [
        "spot statsu",
        "spot report RUN --sinse 90d",
        "spot forecast --sweep gpus",
        "spot rehearse --container trainer",
        "python -m task --epoch-count 3",
        "bash infra/bootstrap.sh --dry",
        "bash infra/none.sh",
        "spot prices | false",
    ],
)
def test_a_command_that_is_wrong_fails(block: str, baked: BakedProject) -> None:
    assert run(baked, block).returncode != 0
