"""Identify what the image was built from, whatever the commit: images of equal sources train the same model."""

import hashlib
from fnmatch import fnmatchcase
from pathlib import Path

FILES = ("Dockerfile", ".dockerignore", "locks/cpu.txt", "locks/cuda.txt", "locks/cu126.txt")
OMITTED = ("src/*.md", "src/spot/*")
KEPT = ("src/spot/__init__.py", "src/spot/core/*", "src/spot/storage/*", "src/spot/trainer/*")
"""As in .dockerignore and the stage `sources` of the Dockerfile."""


def digest(project: Path) -> str:
    """Return the SHA-256 of the names and contents of the files that the build copies into the trainer's image."""
    paths = [project / name for name in FILES] + [
        path for top in ("src", "task") for path in (project / top).rglob("*")
    ]
    found = hashlib.sha256()
    for name, path in sorted((path.relative_to(project).as_posix(), path) for path in paths if path.is_file()):
        is_omitted = any(fnmatchcase(name, one) for one in OMITTED) and not any(fnmatchcase(name, one) for one in KEPT)
        if not is_omitted and "__pycache__" not in name:
            found.update(f"{name}\t{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()
