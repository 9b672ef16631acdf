"""Measure a reconcile of many open and closed runs, and `spot --help`: `python -m benchmarks.supervisor`.

The real clients call the emulators of Cloud Storage and Vertex AI on loopback; a call is one request over HTTP. Every
open run trains, as in most reconciles.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests

from spot.core.run import Machine, PolicyConfig, Provisioning, Run, RunState, Spec, Strategy
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.jobs import JobTable
from spot.emulators.storage_server import emulator
from spot.emulators.vertex_server import VertexServer
from spot.google.vertex import VertexJobs
from spot.storage.base import ABSENT, Store
from spot.storage.factory import open_store
from spot.storage.records.codec import encode
from spot.storage.records.ledger import CLOSED, Ledger
from spot.supervisor.reconcile import Supervisor
from spot.supervisor.training_status import BucketStatus
from tests.machinery import samples
from tests.machinery.emulators.idle import IdleLauncher

BUCKET = "bucket"
START = datetime(2026, 11, 24, tzinfo=UTC)
REGION = "us-central1"
WRITERS = 8
TERMS = PolicyConfig(
    strategy=Strategy.HYBRID,
    regions=(REGION,),
    hand_over=True,
    flex_start=False,
    work=timedelta(hours=10),
    work_is_measured=True,
    tail=timedelta(),
    provisioning_timeout=timedelta(minutes=20),
    expected_start=timedelta(minutes=24),
    worst_start=timedelta(minutes=40),
    reconcile_interval=timedelta(minutes=15),
    max_checkpoint_interval=timedelta(minutes=15),
    reserve=timedelta(minutes=60),
    max_preemptions=None,
    max_errors=0,
    saved_share=0.0,
    disable_retries=True,
    budget_usd=None,
    usd_per_hour={REGION: {Provisioning.SPOT: 0.5, Provisioning.ON_DEMAND: 1.0}},
)


PER_RECONCILE = 4
"""Requests besides those for open runs: the listing of open runs; supervisor.json is read, and read and written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Hold the cost of one reconcile of all open runs."""

    seconds: float
    storage: int
    """Requests."""
    vertex: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    open_runs: int
    closed_runs: int
    begin: Pass
    """The first reconcile, which creates every job."""
    alone: Pass
    """A reconcile while all jobs run, without closed runs."""
    among: Pass
    """The same among the closed runs."""

    @property
    def storage_per_open(self) -> float:
        return (self.among.storage - PER_RECONCILE) / self.open_runs

    @property
    def vertex_per_open(self) -> float:
        return self.among.vertex / self.open_runs

    @property
    def calls_per_closed(self) -> float:
        more = self.among.storage + self.among.vertex - self.alone.storage - self.alone.vertex
        return more / self.closed_runs


class Clock:
    """Tell a time that only the benchmark moves."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def sleep(self, seconds: float) -> None:
        """Return at once: without cancelled attempts nothing is waited for."""


def measure(root: str, *, open_runs: int, closed_runs: int) -> Figures:
    """Measure reconciles below `root`, an empty prefix of the emulated bucket."""
    clock, store = Clock(), open_store(root)
    with VertexServer(JobTable(EmulatedCapacity(), IdleLauncher(), clock)) as server:
        ledger = Ledger(store)
        supervisor = Supervisor(
            ledger=ledger,
            jobs=VertexJobs(server.url),
            status=BucketStatus(root),
            clock=clock,
        )
        runs = [_run(root, number) for number in range(open_runs)]
        for run in runs:
            ledger.create(run)
        begin = _pass(supervisor, server)
        clock.time += timedelta(hours=1)
        for run in runs:
            _checkpoint(root, run)
        supervisor.reconcile()  # records that they run and advance
        alone = _pass(supervisor, server)
        _close(store, root, closed_runs)
        among = _pass(supervisor, server)
    return Figures(open_runs=open_runs, closed_runs=closed_runs, begin=begin, alone=alone, among=among)


def _pass(supervisor: Supervisor, server: VertexServer) -> Pass:
    with _requests() as counts:
        began = time.perf_counter()
        passed = supervisor.reconcile()
        seconds = time.perf_counter() - began
    if problems := [it.problem for it in passed if it.problem]:
        raise RuntimeError(f"{len(problems)} of {len(passed)} runs had a problem, the first: {problems[0]}")
    vertex = counts.pop(urlsplit(server.url).netloc, 0)
    return Pass(seconds=seconds, storage=counts.total(), vertex=vertex)


@contextlib.contextmanager
def _requests() -> Iterator[Counter[str]]:
    """Count HTTP requests by server. Every client of Google sends through the same method."""
    counts: Counter[str] = Counter()
    send = requests.Session.send

    def counted(session: requests.Session, request: requests.PreparedRequest, **arguments: Any) -> requests.Response:
        counts[urlsplit(request.url or "").netloc] += 1
        return send(session, request, **arguments)

    requests.Session.send = counted  # type: ignore[assignment, method-assign]
    try:
        yield counts
    finally:
        requests.Session.send = send  # type: ignore[method-assign]


def _run(root: str, number: int) -> Run:
    spec = Spec(
        project="project",
        root=root,
        image=f"{REGION}-docker.pkg.dev/project/images/trainer@sha256:{0:064}",
        arguments=("--epochs", "20"),
        machine=Machine(type="g2-standard-8", accelerator="NVIDIA_L4", accelerator_count=1, boot_disk_gb=100),
        service_account="trainer@project.iam.gserviceaccount.com",
        deadline=START + timedelta(hours=24),
        policy=TERMS,
    )
    return Run(id=f"{START:%Y%m%d}-{number:06}-0000", spec=spec, submitted_at=START)


def _checkpoint(root: str, run: Run) -> None:
    manifest = samples.manifest(
        run=run.id,
        step=60,
        total_steps=600,
        steps_per_second=1 / 60,
        compute_seconds=3600.0,
        time=START + timedelta(hours=1),
    )
    store = open_store(f"{root}/checkpoints")
    store.write(manifest.name, manifest.to_json(), if_generation=ABSENT)


def _close(store: Store, root: str, count: int) -> None:
    """Write closed runs of the last months."""

    def write(number: int) -> None:
        submitted = START - timedelta(hours=number)
        run = replace(_run(root, number), id=f"{submitted:%Y%m%d-%H%M%S}-0000", submitted_at=submitted)
        ended = replace(run, state=RunState.SUCCEEDED, ended_at=submitted + timedelta(hours=12))
        store.write(f"{CLOSED}{submitted:%Y/%m}/{run.id}.json", encode(ended), if_generation=ABSENT)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(count)))


def show(figures: Figures) -> None:
    print(f"{figures.open_runs} open runs, {figures.closed_runs} closed ones")
    for what, it in [("that creates all jobs", figures.begin), ("while they train", figures.among)]:
        print(f"a reconcile {what}: {it.seconds:.2f} s, {it.storage} calls to storage, {it.vertex} to Vertex AI")
    print(
        f"for each open run:   {figures.storage_per_open:g} calls to storage, {figures.vertex_per_open:g} to Vertex AI"
    )
    print(f"for each closed run: {figures.calls_per_closed:g} calls")


def help_ratio(tries: int = 10) -> float:
    """Return the time of `spot --help` in bare interpreters, the shortest of several tries each."""

    def shortest(*words: str) -> float:
        times = []
        for _ in range(tries):
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - began)
        return min(times)

    return shortest("-m", "spot.cli.main", "--help") / shortest("-c", "pass")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.supervisor", description=__doc__.splitlines()[0])
    parser.add_argument("--open", type=int, default=50, metavar="N", help="runs that train (default: 50)")
    parser.add_argument("--closed", type=int, default=1000, metavar="N", help="runs that have ended (default: 1000)")
    flags = parser.parse_args()
    os.environ["NO_GCE_CHECK"] = "true"  # google-auth asks the metadata address otherwise
    with emulator(BUCKET) as url:
        os.environ["STORAGE_EMULATOR_HOST"] = url
        show(measure(f"gs://{BUCKET}/prefix", open_runs=flags.open, closed_runs=flags.closed))
    print(f"spot --help takes {help_ratio():.1f} bare interpreters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
