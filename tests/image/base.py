"""Make the base image of the Dockerfile from Debian packages, for machines without access to a registry."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tests.image.engine import BUILD_S, Engine

BASE = "localhost/base-of-the-trainer"
"""Stands in for the image in the Dockerfile, which names it by a digest that no image made here can have."""
PACKAGES = "python3,python3-venv,python3-pip"
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
SOURCES = ("index-url", "extra-index-url", "find-links", "trusted-host")
"""The settings of pip that name sources of packages."""
CONTAINERFILE = """\
FROM scratch
ADD debian.tar /
RUN ln -s python3 /usr/bin/python
COPY certificates.pem pip.conf /etc/
ENV PIP_CONFIG_FILE=/etc/pip.conf
"""


def make(engine: Engine) -> list[Path]:
    """Make `BASE`, and return the folders that pip needs inside a build."""
    debian = _debian(engine)
    settings = pip_settings()
    with tempfile.TemporaryDirectory(dir=engine.folder) as name:
        context = Path(name)
        (context / "debian.tar").hardlink_to(debian)
        (context / "Containerfile").write_text(CONTAINERFILE)
        (context / "pip.conf").write_text(_pip_conf(settings))
        certificates = settings.get("cert") or ssl.get_default_verify_paths().cafile
        shutil.copy(certificates or "/etc/ssl/certs/ca-certificates.crt", context / "certificates.pem")
        engine.build(context, BASE)
    return folders(settings)


def _debian(engine: Engine) -> Path:
    """Return a root file system, made once."""
    debian = engine.folder / "debian.tar"
    if not debian.exists():
        part = engine.folder / "debian.part.tar"
        engine.command(
            *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}"),
            *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT),
            *("bookworm", str(part)),
            timeout_s=BUILD_S,
        )
        part.rename(debian)
    return debian


def pip_settings() -> dict[str, str]:
    """Return `SOURCES` and `cert` of this machine's pip; the environment has priority over files."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = {}
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in (*SOURCES, "cert"):
            found[name] = value.strip("'\"").replace("\\n", " ")
    return found


def folders(settings: Mapping[str, str]) -> list[Path]:
    """Return the sources that are folders on this machine."""
    places = [place for name in SOURCES for place in settings.get(name, "").split()]
    # The pages of an index link to files beside it.
    paths = [Path(urlsplit(place).path).parent if place.startswith("file:") else Path(place) for place in places]
    return [path for path in paths if path.is_absolute() and path.is_dir()]


def _pip_conf(settings: Mapping[str, str]) -> str:
    sources = [f"{name} =\n    " + "\n    ".join(settings[name].split()) for name in SOURCES if name in settings]
    return "\n".join(["[global]", "cert = /etc/certificates.pem", *sources, ""])
