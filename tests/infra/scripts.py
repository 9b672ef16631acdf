"""Run the scripts in a temporary project, with the real gcloud against a cloud on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.machinery.spot_toml import GOOD
from tests.paths import PROJECT

APIS = (
    *("ARTIFACTREGISTRY", "CLOUDRESOURCEMANAGER", "CLOUDSCHEDULER"),
    *("IAM", "LOGGING", "MONITORING", "SERVICEUSAGE"),
)
APIS_NEEDED = {
    f"{api}.googleapis.com"
    for api in (
        *("aiplatform", "artifactregistry", "cloudbilling", "cloudquotas", "cloudresourcemanager", "compute", "iam"),
        *("iamcredentials", "logging", "serviceusage", "storage", "sts"),
    )
}
APIS_OF_CLOUD_RUN = {f"{api}.googleapis.com" for api in ("cloudscheduler", "monitoring", "run")}
TOOLS = ("awk", "bash", "cat", "dirname", "grep", "head", "mktemp", "rm", "sleep")
"""Every program that the scripts call besides gcloud, gh and python3."""
IDS = ("--repository-id", "22", "--owner-id", "11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Hold exit code and output of a script."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Return the change of each resource."""
        return [" ".join(line.split()) for line in self.out.partition("\n\n")[0].splitlines()]


@dataclass(frozen=True, slots=True)
class Project:
    """Hold a project folder with a `bin` first on the path, and no credentials."""

    folder: Path
    cloud_url: str = ""
    """Empty: gcloud reaches no server."""

    @classmethod
    def at(cls, folder: Path, *, settings: str = GOOD, cloud_url: str = "") -> Project:
        for name in ("infra", "src"):
            (folder / name).symlink_to(PROJECT / name)
        (folder / "spot.toml").write_text(settings, encoding="utf-8")
        (folder / "bin").mkdir()
        return cls(folder, cloud_url)

    def program(self, name: str, *lines: str) -> Path:
        """Put a program in `bin` and return the file to which it writes its arguments."""
        called = self.folder / f"{name}-was-called"
        self.script(self.folder / "bin" / name, f'echo "$*" >> "{called}"', *lines)
        return called

    @staticmethod
    def script(path: Path, *lines: str) -> None:
        path.write_text("\n".join(("#!/bin/sh", *lines, "")), encoding="utf-8")
        path.chmod(0o755)

    def tools(self, *more: str) -> str:
        """Return a path with only TOOLS and `more`; python3 is this interpreter."""
        folder = self.folder / "tools"
        folder.mkdir()
        for name in (*TOOLS, *more):
            if name == "python3":  # a link would lose the packages of this environment
                self.script(folder / name, f'exec "{sys.executable}" "$@"')
            else:
                found = shutil.which(name)
                assert found, name
                (folder / name).symlink_to(found)
        return str(folder)

    def run(self, script: str, *arguments: str, path: str | None = None) -> Ended:
        """Run a script with `path` behind `bin`, by default the path of this machine."""
        command = ["bash", str(self.folder / "infra" / script), *arguments]
        behind = path or f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self._environment(), "PATH": f"{self.folder / 'bin'}:{behind}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(code=done.returncode, out=done.stdout, err=done.stderr)

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("CLOUDSDK_", "GH_", "PYTHONPATH"))
        }
        overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": f"{self.cloud_url}/" for api in APIS}
        return {
            **kept,
            **overrides,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{self.cloud_url}/storage/v1/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN": "http://run.invalid/",
            # gcloud puts the region before the host of Cloud Run, which only a proxy can answer then.
            "http_proxy": self.cloud_url,
            "no_proxy": "",
            "NO_PROXY": "",
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            "CLOUDSDK_CONFIG": str(self.folder / "gcloud"),
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
            "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        }
