"""The sessions of this project. Plain `nox` runs lint, types and tests."""

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


def cu126_index() -> str:
    """PyTorch's builds for NVIDIA drivers from R525 on, empty where their index does not answer."""
    index = f"{os.environ.get('TORCH_INDEX', PYTORCH_CPU).removesuffix('/cpu')}/cu126"
    return index if index.startswith("http") and answers(index) else ""


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
    """Install everything, once, for every session that needs PyTorch."""
    session.install(*torch_index(), "-c", "constraints.txt", "-e", ".[dev]")


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and lint."""
    session.install("-c", "constraints.txt", "ruff")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(venv_backend="none", requires=["environment"])
def types(session: nox.Session) -> None:
    """Check the types of src/."""
    session.run(python(session), "-m", "mypy")


@nox.session(venv_backend="none", requires=["environment"])
def tests(session: nox.Session) -> None:
    """Test your model, data and settings."""
    session.run(python(session), "-m", "pytest", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def rehearse(session: nox.Session) -> None:
    """Rehearse a whole retraining on this machine (`spot rehearse`)."""
    session.run(python(session), "-m", "spot.demo", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"], default=False)
def image(session: nox.Session) -> None:
    """Build the image; train, stop and resume in it (docker or podman)."""
    session.run(python(session), "-m", "pytest", "-m", "image", *session.posargs)


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Write the hash-locked requirements of the images and of the workflows to locks/.

    Python 3.11 is the images'; the same packages fit the newer Python of the workflows.
    """
    session.install("-c", "constraints.txt", "uv")
    train, cu126 = ("train", "3.11"), cu126_index()
    builds = {"cpu": (*train, torch_index()), "cuda": (*train, []), "spot": ("spot", "3.11", [])}
    if cu126:
        builds["cu126"] = (*train, ["--extra-index-url", cu126])
    for build, (extra, version, index) in builds.items():
        torch = (*index, "--index-strategy", "unsafe-best-match") if index else ()
        where = ("pyproject.toml", "--extra", extra, "-c", "constraints.txt", "-o", f"locks/{build}.txt")
        what = (
            "--python-version",
            version,
            "--python-platform",
            "x86_64-manylinux_2_28",
            "--generate-hashes",
            "--upgrade",
        )
        form = ("--quiet", "--no-annotate", "--custom-compile-command", "nox -s lock")
        links = {} if build == "cpu" else {"UV_FIND_LINKS": ""}  # there lies the CPU build, if it lies anywhere
        session.run("uv", "pip", "compile", *where, *what, *form, *torch, env=links)
