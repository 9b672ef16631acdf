"""Provide both stores, the emulators, and faults between them and the clients."""

from __future__ import annotations

import itertools
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from hypothesis import settings

from spot.emulators.faults import never
from spot.emulators.storage_server import emulator
from spot.emulators.vertex_server import VertexServer
from spot.google.vertex import ENDPOINT
from spot.storage.base import Store
from spot.storage.factory import open_store
from tests.machinery.desk import Desk, no_jobs, spot_toml
from tests.machinery.emulators.world import World
from tests.machinery.proxy import Proxy
from tests.paths import REPOSITORY, SRC

# No deadline: other processes may use the cores. The same examples each time: the soaks draw others.
settings.register_profile("quick", deadline=None, max_examples=25, derandomize=True)
settings.register_profile("chaos", settings.get_profile("quick"), max_examples=100, derandomize=False)
settings.register_profile("long", settings.get_profile("chaos"), max_examples=20_000)
settings.load_profile("quick")

BUCKET = "bucket"
LONGEST_S = {
    "chaos": 900,
    "cruft": 900,
    "image": 1800,
    "infra": 600,
    "ranks": 3600,
    "rehearsals": 1200,
    "workflows": 900,
}
"""The time-out by mark; `timeout` in pyproject.toml is for the rest."""
SAMPLED = 20
"""In CI, one of so many cases of each soak runs, and none of a test that has cases without a mark."""
FEW = {"ranks": ("2-fsdp",), "rehearsals": ("stopped", "[0]")}
"""Of these marks only the cases with such a name run in CI."""
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: its threads busy-wait on cores that the tests share
# A background job ignores SIGINT, and so do the processes that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
_prefixes = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def environment() -> Iterator[None]:
    """Set variables for this process and the processes that the tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # tests need not survive a power failure
        patch.setenv("NO_GCE_CHECK", "true")  # google-auth asks the metadata address otherwise
        patch.setenv("PYTHONPATH", f"{SRC}{os.pathsep}{REPOSITORY}")
        for name in ("AIP_MODEL_DIR", "AIP_CHECKPOINT_DIR", "AIP_TENSORBOARD_LOG_DIR"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def emulator_url() -> Iterator[str]:
    """Start a Cloud Storage server with the bucket `BUCKET`, and point `gs://` to it."""
    with emulator(BUCKET) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        yield url


@pytest.fixture
def gs_uri(emulator_url: str) -> str:  # noqa: ARG001  # it must run
    """Return a prefix for this test only."""
    return f"gs://{BUCKET}/test-{next(_prefixes)}"


@pytest.fixture(params=["local", "gs"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URI of an empty store, once for each kind."""
    if request.param == "gs":
        return str(request.getfixturevalue("gs_uri"))
    return str(tmp_path / "store")


@pytest.fixture
def store(uri: str) -> Store:
    """Return the store at `uri`."""
    return open_store(uri)


@pytest.fixture
def proxy(emulator_url: str) -> Iterator[Proxy]:
    """Start a proxy for the emulator; `gs://` uses it where `STORAGE_EMULATOR_HOST` is its URL."""
    with Proxy(emulator_url) as between:
        yield between


@pytest.fixture(scope="session")
def vertex_server() -> Iterator[VertexServer]:
    with VertexServer(no_jobs()) as server:
        yield server


@pytest.fixture
def desk(
    tmp_path: Path,
    gs_uri: str,
    vertex_server: VertexServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    vertex_server.jobs = no_jobs()
    vertex_server.rule = never
    vertex_server.calls.clear()
    monkeypatch.setenv(ENDPOINT, vertex_server.url)
    monkeypatch.setattr("spot.supervisor.reconcile.SETTLE_EVERY_S", 0.02)
    toml = tmp_path / "spot.toml"
    toml.write_text(spot_toml(gs_uri))
    return Desk(toml=toml, root=gs_uri, server=vertex_server, capsys=capsys)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Iterator[VertexServer]:
    """Serve the jobs of `world`."""
    with VertexServer(world.jobs) as server:
        yield server


@pytest.fixture
def connect() -> Callable[[str], Any]:
    """Return a function that makes a client of Google's library for a URL."""
    from google.cloud.aiplatform_v1.services.job_service import JobServiceClient

    anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
    return lambda url: JobServiceClient(
        transport="rest", credentials=anonymous, client_options=ClientOptions(api_endpoint=url)
    )


@pytest.fixture
def client(server: VertexServer, connect: Callable[[str], Any]) -> Any:
    """Return a client of Google's library for `server`."""
    return connect(server.url)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests a longer time-out, and take a sample of the soaks in CI."""
    for item in items:
        longest_s = max((LONGEST_S[mark.name] for mark in item.iter_markers() if mark.name in LONGEST_S), default=None)
        if longest_s and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(longest_s))
    if "CI" in os.environ:
        cases = defaultdict[str, Iterator[int]](itertools.count)
        quick = {_function(item) for item in items if not item.get_closest_marker("chaos")}
        items[:] = [item for item in items if _in_sample(item, cases, quick)]


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _in_sample(item: pytest.Item, cases: Mapping[str, Iterator[int]], quick: Collection[str]) -> bool:
    for mark, names in FEW.items():
        if item.get_closest_marker(mark):
            return any(name in item.nodeid for name in names)
    if not item.get_closest_marker("chaos"):
        return True
    return _function(item) not in quick and next(cases[_function(item)]) % SAMPLED == 0
