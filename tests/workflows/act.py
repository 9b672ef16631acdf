"""Run the real workflows on this machine with act. `stubs` and `Act` replace all remote services."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.paths import PROJECT
from tests.workflows.cloud import IMAGES, Cloud

STUBS = Path(__file__).parent / "stubs"
COPIED = (".github", "locks", "src", "pyproject.toml", "constraints.txt", "README.md")
CRON = "17 3 * * 1"
TIMEOUT_S = 120
_USES = re.compile(r"uses: ([\w-]+)/([\w-]+)@([0-9a-f]{40})")
VARIABLES = {
    "GCP_WORKLOAD_IDENTITY_PROVIDER": "projects/1/locations/global/workloadIdentityPools/github/providers/github",
    "GCP_SERVICE_ACCOUNT": "ci@acme-ml.iam.gserviceaccount.com",
    "GCP_ARTIFACT_REPOSITORY": IMAGES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Hold the result and the output of a workflow."""

    succeeded: bool
    events: tuple[Mapping[str, Any], ...]
    log: str

    @property
    def summary(self) -> str:
        """Return the summary that its steps wrote."""
        return "".join(event["content"] for event in self.events if event.get("command") == "summary")

    @property
    def jobs(self) -> dict[str, str]:
        """Return the result of each job that ran."""
        return {event["jobID"]: event["jobResult"] for event in self.events if event.get("jobResult")}


class Act:
    """Run workflows of a repository with this project. pip, nox and sudo only record their calls."""

    def __init__(self, program: str, folder: Path, cloud: Cloud) -> None:
        self._program, self._folder = program, folder
        self.repository = folder / "repository"
        self.builds, self.installs, self.sessions = folder / "builds", folder / "installs", folder / "sessions"
        self.as_root = folder / "as_root"
        self._runs = 0
        self._lay_out(cloud.settings)
        self._environ = {**cloud.environ, **self._stand_ins()}

    def run(
        self,
        workflow: str,
        event: str = "schedule",
        *,
        inputs: Mapping[str, str] | None = None,
        cron: str = CRON,
        variables: Mapping[str, str] = VARIABLES,
        again: bool = False,
    ) -> Done:
        """Run a workflow to its end; `again` repeats the last run."""
        self._runs += not again
        payload = self._folder / "event.json"
        payload.write_text(json.dumps({"schedule": cron} if event == "schedule" else {"inputs": dict(inputs or {})}))
        words = [self._program, event, "--workflows", f".github/workflows/{workflow}", "--eventpath", str(payload)]
        words += ["--json", "--pull=false", "--no-cache-server", "--action-offline-mode"]
        words += [f"--platform={runner}=-self-hosted" for runner in ("ubuntu-24.04", "ubuntu-slim")]
        words += ["--secret", "GITHUB_TOKEN=a-token-of-github"]
        words += [f"--local-repository={action}={stub}" for action, stub in self._stubs().items()]
        words += [f"--env={name}={value}" for name, value in self._environ.items()]
        words += [f"--env=GITHUB_RUN_ID={self._runs}"]
        words += [f"--var={name}={value}" for name, value in variables.items()]
        environ = {"PATH": os.environ["PATH"], "HOME": str(self._folder)}
        done = subprocess.run(
            words, cwd=self.repository, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        events = tuple(json.loads(line) for line in lines)
        return Done(succeeded=done.returncode == 0, events=events, log=done.stdout + done.stderr)

    @property
    def commit(self) -> str:
        return self._git("rev-parse", "HEAD")

    def _lay_out(self, settings: str) -> None:
        self.repository.mkdir(parents=True)
        for name in COPIED:
            source = PROJECT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
                shutil.copytree(source, self.repository / name, ignore=ignored)
            else:
                shutil.copy(source, self.repository)
        (self.repository / "spot.toml").write_text(settings)
        for workflow in (self.repository / ".github" / "workflows").iterdir():
            text = re.sub(r"<< .* >>", CRON, workflow.read_text())
            # act supports no queues
            workflow.write_text(re.sub(r"(?m)^ *queue: max\n", "", text))
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("add", "--all")
        self._git("-c", "user.name=Ann", "-c", "user.email=ann@acme.example", "commit", "--quiet", "--message=All")

    def _stand_ins(self) -> dict[str, str]:
        programs = self._folder / "programs"
        programs.mkdir()
        for name, line in {
            "python": f'exec "{sys.executable}" "$@"',
            "pip": f'printf "%s\\n" "$*" >>"{self.installs}"',
            "sudo": f'printf "%s\\n" "$*" >>"{self.as_root}"',
            "nox": f'printf "%s\\n" "$*" >>"{self.sessions}"',
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{line}\n")
            (programs / name).chmod(0o755)
        return {
            "STUB_PROGRAMS": str(programs),
            "STUB_BUILDS": str(self.builds),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def _stubs(self) -> dict[str, Path]:
        """Return the folder that replaces each action, by name and commit."""
        text = "".join(path.read_text() for path in (self.repository / ".github" / "workflows").iterdir())
        found = {f"{owner}/{name}@{commit}": STUBS / name for owner, name, commit in _USES.findall(text)}
        return {action: stub for action, stub in found.items() if stub.name != "checkout"}  # act has it in place

    def _git(self, *words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=self.repository, capture_output=True, text=True, check=True
        ).stdout.strip()


def lines(path: Path) -> Sequence[str]:
    """Return the recorded lines; none without a file."""
    return path.read_text().splitlines() if path.exists() else []
