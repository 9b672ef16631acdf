"""Run the command line with a spot.toml, a bucket, a Vertex AI emulator and objects as the trainer writes them."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spot.cli.main import main
from spot.core.clock import SystemClock
from spot.core.run import Run
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.job_lifecycle import Behaviour
from spot.emulators.jobs import JobTable
from spot.emulators.vertex_server import VertexServer
from spot.storage.base import ABSENT, Store
from spot.storage.factory import open_store
from spot.storage.records.ledger import Ledger
from tests.machinery import samples
from tests.machinery.emulators.idle import IdleLauncher, finish
from tests.machinery.spot_toml import GOOD, changed
from tests.machinery.storage.completed import complete

DIGEST = "sha256:" + "0123456789abcdef" * 4
IMAGE = f"us-central1-docker.pkg.dev/acme-ml/images/trainer@{DIGEST}"
WEEKLY = f"{datetime.now(UTC):%Y%m%d}-weekly"
"""The id of a run."""
AT_ONCE = Behaviour(
    queued=timedelta(),
    pending=timedelta(),
    error_delay=timedelta(),
    cancelling=timedelta(),
)


def no_jobs() -> JobTable:
    """Return a job table whose jobs run at once, without a process."""
    return JobTable(EmulatedCapacity(), IdleLauncher(), SystemClock(), AT_ONCE)


def unreachable_url() -> str:
    """Return a URL without a server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Hold the exit code and the output of a verb."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return standard output, which must be one JSON document."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    toml: Path
    root: str
    server: VertexServer
    capsys: pytest.CaptureFixture[str]

    def spot(self, verb: str, *arguments: str) -> Output:
        self.capsys.readouterr()
        code = main([verb, "--settings", str(self.toml), *arguments])
        out, err = self.capsys.readouterr()
        return Output(code=code, out=out, err=err)

    def submit(self, run_id: str, *arguments: str) -> str:
        """Submit a run and return the name of its job."""
        said = self.spot("submit", "--run", run_id, *arguments)
        assert said.code == 0, said.err
        return self.job(run_id)

    def run(self, run_id: str) -> Run:
        return Ledger(self.store()).find(run_id).run

    def job(self, run_id: str) -> str:
        """Return the name of the job of the newest attempt."""
        self.server.jobs.advance()
        return str(self.run(run_id).attempts[-1].job)

    def jobs_of(self, run_id: str) -> int:
        """Return the number of jobs of a run, in all regions."""
        where = f'labels.run="{run_id}"'
        pages = [self.server.jobs.list("acme-ml", region, where) for region in ("us-central1", "us-east4")]
        return sum(len(page.jobs) for page in pages)

    def fail(self, run_id: str) -> None:
        """End the trainer with an error."""
        finish(self.server.jobs, self.job(run_id), exit_code=1)

    def complete(self, run_id: str) -> None:
        """Write the completion record as the trainer does, and end the trainer."""
        complete(open_store(f"{self.root}/models"), run_id, datetime.now(UTC))
        finish(self.server.jobs, self.job(run_id))

    def checkpoint(self, run_id: str, step: int, total_steps: int) -> None:
        """Commit a checkpoint as the trainer does; a step takes a second."""
        manifest = samples.manifest(
            run=run_id,
            step=step,
            total_steps=total_steps,
            epoch=1,
            compute_seconds=float(step),
            time=datetime.now(UTC),
        )
        self.put(f"checkpoints/{manifest.name}", manifest.to_json())

    def put(self, name: str, data: bytes) -> int:
        """Write an object and return its generation."""
        return self.store().write(name, data, if_generation=ABSENT).generation

    def objects(self) -> list[str]:
        return [entry.name for entry in self.store().list("")]

    def store(self) -> Store:
        return open_store(self.root)

    def settings(self, values: Mapping[str, str | None]) -> None:
        """Change settings; the values are TOML, and None removes a key."""
        text = self.toml.read_text()
        for key, value in values.items():
            text = changed(key, value, text)
        self.toml.write_text(text)


def spot_toml(root: str) -> str:
    """Return the settings for a bucket at `root`."""
    bucket, _, prefix = root.removeprefix("gs://").partition("/")
    text = GOOD
    for key, value in {"bucket": f"{bucket}", "prefix": prefix, "image": IMAGE}.items():
        text = changed(f"cloud.{key}", f'"{value}"', text)
    return text
