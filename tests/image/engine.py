"""Run buildah and podman with separate settings and storage, apart from the machine's own."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PACKAGES = ("mmdebstrap", "debian-archive-keyring", "buildah", "podman", "runc")
PROGRAMS = ("mmdebstrap", "buildah", "podman", "runc")
BUILD_S = 900.0
RUN_S = 120.0
# The state of running containers, which must not survive a reboot.
RUNTIME = "/run/spot-training-image"
# crun and systemd's cgroups need more rights than a container on CI has.
CONTAINERS = f"""
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{RUNTIME}/libpod"
"""
_names = (f"image-test-{os.getpid()}-{number}" for number in itertools.count(1))


def missing() -> str | None:
    """Return why no image can be built here, and the fix; None if it can."""
    if absent := [program for program in PROGRAMS if not shutil.which(program, path=_path())]:
        return f"{', '.join(absent)} not found: apt-get install --no-install-recommends {' '.join(PACKAGES)}"
    if os.geteuid() != 0:
        return "images are built and run as root only: run this session with sudo"
    return None


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])


class Engine:
    """Build and run images. `folder` holds the storage, reused by later sessions."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        storage, containers = folder / "storage.conf", folder / "containers.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\nrunroot = "{RUNTIME}/storage"\ngraphroot = "{folder}/storage"\n'
        )
        containers.write_text(CONTAINERS)
        self.settings = {
            "CONTAINERS_STORAGE_CONF": str(storage),
            "CONTAINERS_CONF": str(containers),
            "PATH": _path(),
        }
        """The environment variables for every call of podman."""

    def command(self, *words: str, timeout_s: float = RUN_S, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command. Raise `AssertionError` with its output if it fails."""
        environ = {**os.environ, **self.settings}
        done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=timeout_s, check=False)
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stderr[-3000:]}"
        return done

    def build(
        self,
        context: Path,
        tag: str,
        *,
        arguments: Mapping[str, str] | None = None,
        volumes: Sequence[Path] = (),
        contexts: Mapping[str, str] | None = None,
        target: str | None = None,
    ) -> None:
        """Build an image. Its steps see `volumes` under the same paths; `contexts` replaces images by local tags."""
        self.command(
            *("buildah", "bud", "--isolation", "chroot", "--pull=never", "--network", "host", "--layers", "--force-rm"),
            *(word for name, value in (arguments or {}).items() for word in ("--build-arg", f"{name}={value}")),
            *(word for volume in volumes for word in ("--volume", f"{volume}:{volume}:ro")),
            *(f"--build-context={name}=docker-image://{local}" for name, local in (contexts or {}).items()),
            *(("--target", target) if target else ()),
            *("--tag", tag, str(context)),
            timeout_s=BUILD_S,
        )

    def inspect(self, image: str) -> dict[str, Any]:
        described: list[dict[str, Any]] = json.loads(self.command("podman", "image", "inspect", image).stdout)
        return described[0]

    def run(self, image: str, *arguments: str, entrypoint: str | None = None, user: str | None = None) -> str:
        """Return the standard output."""
        options = [*(["--entrypoint", entrypoint] if entrypoint else []), *(["--user", user] if user else [])]
        return self.command("podman", "run", "--rm", "--network", "host", *options, image, *arguments).stdout

    def start(self, image: str, *arguments: str, environ: Mapping[str, str]) -> Container:
        name = next(_names)
        given = [word for variable, value in environ.items() for word in ("--env", f"{variable}={value}")]
        self.command("podman", "run", "--detach", "--network", "host", "--name", name, *given, image, *arguments)
        return Container(engine=self, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Hold a started container; leaving the context removes it."""

    engine: Engine
    name: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.command("podman", "rm", "--force", "--time", "0", self.name)

    def said(self) -> str:
        """Return the output so far."""
        done = self.engine.command("podman", "logs", self.name)
        return done.stdout + done.stderr

    def wait_for(self, true: Callable[[str], object]) -> str:
        """Wait until the condition holds for the output, and return the output."""
        end = time.monotonic() + RUN_S
        while not true(said := self.said()):
            assert self.running(), f"the container ended first:\n{said[-3000:]}"
            assert time.monotonic() < end, f"the condition was never true:\n{said[-3000:]}"
            time.sleep(0.1)
        return said

    def running(self) -> bool:
        return self.engine.command("podman", "inspect", "--format", "{{.State.Running}}", self.name).stdout == "true\n"

    def handles(self, number: signal.Signals) -> bool:
        """Return whether the first process has a handler for the signal: without one it would be lost."""
        pid = self.engine.command("podman", "inspect", "--format", "{{.State.Pid}}", self.name).stdout.strip()
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
        return bool(caught >> (number - 1) & 1)

    def stop(self, grace_s: int) -> int:
        """Send SIGTERM, and SIGKILL after the grace; return the exit code."""
        self.engine.command("podman", "stop", "--time", str(grace_s), self.name)
        return self.wait()

    def wait(self) -> int:
        """Return the exit code."""
        return int(self.engine.command("podman", "wait", self.name).stdout)
