"""Reconcile once in the supervisor's image, as Cloud Run starts it, within the memory of its job."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spot.core.clock import SystemClock
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.jobs import JobTable
from spot.emulators.vertex_server import VertexServer
from spot.google.vertex import ENDPOINT
from spot.storage.factory import open_store
from spot.storage.records import reconciles
from spot.storage.records.ledger import Ledger
from spot.storage.records.reconciles import Home
from tests.image.conftest import COMMIT, Build, copy_sources
from tests.image.engine import Engine
from tests.machinery import samples
from tests.machinery.emulators.idle import IdleLauncher
from tests.machinery.spot_toml import changed
from tests.paths import PROJECT

pytestmark = pytest.mark.image
IMAGE = "localhost/supervisor"
REPOSITORY = "us-central1-docker.pkg.dev/acme-ml/images/trainer"
MEMORY = int(re.findall(r"--memory=(\d+)Mi", (PROJECT / "infra/bootstrap.sh").read_text())[0])
LARGEST_MB = 600


@pytest.fixture
def supervisor(build: Build, gs_uri: str, tmp_path: Path) -> str:
    """Build the image of a project in this bucket, and return its tag."""
    bucket, prefix = gs_uri.removeprefix("gs://").split("/", 1)
    sources = copy_sources(tmp_path)
    text = changed("cloud.bucket", f'"{bucket}"', changed("cloud.prefix", f'"{prefix}"'))
    (sources / "spot.toml").write_text(text, encoding="utf-8")
    build(sources, IMAGE, target="supervisor")
    return IMAGE


def peak_mb(engine: Engine, image: str, environ: dict[str, str]) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Reconcile in a container, and return the largest resident memory of its processes, and its output."""
    program = (
        "import resource, subprocess, sys;"
        "code = subprocess.run([sys.executable, '-m', 'spot.cli.main', 'reconcile', '--json']).returncode;"
        "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr);"
        "sys.exit(code)"
    )
    given = [word for name, value in environ.items() for word in ("--env", f"{name}={value}")]
    done = engine.command(
        *("podman", "run", "--rm", "--network", "host", *given, "--entrypoint", "python", image, "-c", program),
        check=False,
    )
    found = re.search(r"peak (\d+)", done.stderr)
    assert found, done.stderr
    return int(found[1]) / 1024, done


def test_one_reconcile_starts_the_job_of_a_run_within_the_memory_of_its_job(
    engine: Engine, supervisor: str, gs_uri: str, emulator_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, now = Ledger(open_store(gs_uri)), datetime.now(UTC)
    run = samples.run(
        id=f"{now:%Y%m%d}-supervised",
        submitted_at=now,
        root=gs_uri,
        project="acme-ml",
        service_account="training@acme-ml.iam.gserviceaccount.com",
        image=f"{REPOSITORY}@sha256:{1:064d}",
        deadline=now + timedelta(hours=12),
    )
    ledger.create(run)
    with VertexServer(JobTable(EmulatedCapacity(), IdleLauncher(), SystemClock())) as server:
        environ = {
            "CLOUD_RUN_JOB": "spot-churn",
            "GOOGLEAPIS_ENDPOINT": server.url,
            "NO_GCE_CHECK": "true",
            "STORAGE_EMULATOR_HOST": emulator_url,
            ENDPOINT: server.url,
        }
        used, done = peak_mb(engine, supervisor, environ)
    assert done.returncode == 0, done.stderr
    [said] = json.loads(done.stdout)["runs"]
    assert (said["run"], said["state"], said["problem"]) == (run.id, "open", None)
    assert ledger.read(run.id).run.attempts[0].job
    assert reconciles.read(ledger.store).runs[run.id].home is Home.CLOUD_RUN
    size = engine.inspect(supervisor)["Size"] / 1e6
    with capsys.disabled():
        print(f"\none reconcile used {used:.0f} of {MEMORY} MiB; the image has {size:.0f} MB")
    assert used < MEMORY / 2
    assert size < LARGEST_MB


def test_it_has_the_supervisor_no_pytorch_no_rights_and_one_reconcile_as_its_command(
    engine: Engine, supervisor: str
) -> None:
    described = engine.inspect(supervisor)
    assert described["Config"]["User"] == "10001:10001"
    assert described["Config"]["Entrypoint"] == ["python", "-m", "spot.cli.main"]
    assert described["Config"]["Cmd"] == ["reconcile", "--json"]
    assert described["Labels"]["org.opencontainers.image.revision"] == COMMIT
    program = "import importlib.util as u, os; print(u.find_spec('torch'), u.find_spec('spot.supervisor') is not None)"
    assert engine.run(supervisor, "-c", program, entrypoint="python") == "None True\n"
    assert "usage: spot" in engine.run(supervisor, "--help")
