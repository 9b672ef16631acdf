"""Provide all services of the workflows on loopback: GitHub, Vertex AI, the registry and the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from spot.core.clock import SystemClock
from spot.core.evaluation import Evaluation
from spot.core.history import CancelRequest
from spot.core.run import Run
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.faults import Method
from spot.emulators.job_lifecycle import Behaviour
from spot.emulators.jobs import JobTable
from spot.emulators.vertex_server import VertexServer
from spot.storage.base import Store
from spot.storage.factory import open_store
from spot.storage.records.ledger import CLOSED, OPEN, Ledger
from tests.machinery import samples
from tests.machinery.emulators.idle import IdleLauncher, finish
from tests.machinery.google.google_server import Answer, GoogleServer, google_server
from tests.machinery.storage.completed import complete
from tests.workflows.github_server import REPOSITORY, GitHubServer, github_server

IMAGES = "us-central1-docker.pkg.dev/acme-ml/images"
AT_ONCE = Behaviour(queued=timedelta(), pending=timedelta(), error_delay=timedelta(), cancelling=timedelta(), grace_s=0)
"""Jobs run as soon as they are created, because the workflows read the real clock."""
SETTINGS = """\
name = "Churn"
[cloud]
project = "acme-ml"
regions = ["us-central1", "us-east4"]
bucket = "{bucket}"
prefix = "{prefix}"
supervisor = "{supervisor}"
[machine]
type = "{machine}"
accelerator = "{accelerator}"
[policy]
deadline_hours = 12
work_hours = 1
[training]
data = "sample"
epochs = 20
"""


@dataclass(slots=True, kw_only=True)
class Cloud:
    """Control the services of a team, and the jobs in them."""

    github: GitHubServer
    vertex: VertexServer
    registry: GoogleServer
    storage: str
    """The URL of the emulator."""
    uri: str
    """The prefix of all objects in its bucket."""
    supervisor: str = "github"
    machine: tuple[str, str] = ("g2-standard-8", "NVIDIA_L4")

    @property
    def settings(self) -> str:
        """Return the spot.toml of a project of this cloud."""
        bucket, prefix = self.uri.removeprefix("gs://").split("/", 1)
        machine, accelerator = self.machine
        return SETTINGS.format(
            bucket=bucket, prefix=prefix, supervisor=self.supervisor, machine=machine, accelerator=accelerator
        )

    @property
    def environ(self) -> dict[str, str]:
        """Return the variables that point a process to these services."""
        return {
            "GITHUB_API_URL": self.github.url,
            "GOOGLEAPIS_ENDPOINT": f"{self.registry.url}/{{api}}",
            "GITHUB_REPOSITORY": REPOSITORY,
            "NO_GCE_CHECK": "true",
            "REGISTRY_ENDPOINT": self.registry.url,
            "STORAGE_EMULATOR_HOST": self.storage,
            "VERTEX_ENDPOINT": self.vertex.url,
        }

    @property
    def ledger(self) -> Ledger:
        return Ledger(open_store(self.uri))

    def only_run(self) -> Run:
        """Return the only open run."""
        [run_id] = self.ledger.open_ids()
        return self.ledger.read(run_id).run

    def closed(self) -> list[str]:
        """Return the names of the records of closed runs."""
        return [entry.name for entry in open_store(self.uri).list(CLOSED)]

    def creates(self) -> int:
        """Return the number of requested jobs."""
        return sum(call.method is Method.CREATE for call in self.vertex.calls)

    def preempt(self) -> None:
        self.vertex.jobs.preempt(self._job(), save=False)

    def crash(self) -> None:
        finish(self.vertex.jobs, self._job(), exit_code=1)

    def cancel(self) -> None:
        """Record a cancel request of a user."""
        record = self.ledger.read(self.only_run().id)
        request = CancelRequest(at=datetime.now(UTC), by="ann")
        self.ledger.write(record, replace(record.run, cancel_request=request))

    def break_record(self, run_id: str) -> None:
        open_store(self.uri).write(f"{OPEN}{run_id}.json", b"nonsense", if_generation=0)

    def checkpoint(self, step: int) -> None:
        """Commit a checkpoint as the trainer of the active attempt does."""
        run = self.only_run()
        manifest = samples.manifest(
            run=run.id,
            attempt=run.attempts[-1].id,
            step=step,
            total_steps=1000,
            epoch=1,
            compute_seconds=float(step),
            time=datetime.now(UTC),
        )
        self._store("checkpoints").write(manifest.name, manifest.to_json(), if_generation=0)

    def complete(self, found: Evaluation | None = None) -> None:
        """Complete the model, which measured this, and end the trainer."""
        run = self.only_run()
        complete(self._store("models"), run.id, datetime.now(UTC), found)
        finish(self.vertex.jobs, self._job())

    def push(self, commit: str, digest: str, image: str = "trainer") -> None:
        """Add an image of this commit to the registry."""
        path = f"/v2/{IMAGES.partition('/')[2]}/{image}/manifests/{commit}"
        self.registry.answers[path] = Answer(headers={"Docker-Content-Digest": digest})

    def _job(self) -> str:
        job = self.only_run().attempts[-1].job
        assert job
        return job

    def _store(self, folder: str) -> Store:
        return open_store(f"{self.uri}/{folder}")


@contextmanager
def cloud(uri: str, storage: str) -> Iterator[Cloud]:
    """Provide a cloud whose empty bucket prefix `uri` is served by the emulator `storage`."""
    jobs = JobTable(EmulatedCapacity(), IdleLauncher(), SystemClock(), AT_ONCE)
    with github_server() as github, google_server() as registry, VertexServer(jobs) as vertex:
        yield Cloud(github=github, vertex=vertex, registry=registry, storage=storage, uri=uri)
