"""What the tests run against: both stores, the Cloud Storage emulator, faults between it and the client."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from bucket.store import Store, open_store
from rehearsal.emulator import emulator
from tests.proxy import Proxy

settings.register_profile("unhurried", deadline=None)  # two cores, shared with whatever runs beside the tests
settings.register_profile("long", deadline=None, max_examples=20_000)
settings.load_profile("unhurried")

BUCKET = "bucket"
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: its threads wait busily, and the tests share the cores
_prefixes = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def environment() -> Iterator[None]:
    """Of this process and of those that the tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_GCE_CHECK", "true")  # google-auth asks the metadata address otherwise
        patch.setenv("PYTHONPATH", str(Path(__file__).parent.parent / "src"))
        for name in ("AIP_MODEL_DIR", "AIP_CHECKPOINT_DIR", "AIP_TENSORBOARD_LOG_DIR"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def emulator_url() -> Iterator[str]:
    """A Cloud Storage server with the bucket `BUCKET`, which `gs://` means from now on."""
    with emulator(BUCKET) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        yield url


@pytest.fixture
def gs_uri(emulator_url: str) -> str:  # noqa: ARG001  # it must be up
    """A prefix of this test alone."""
    return f"gs://{BUCKET}/test-{next(_prefixes)}"


@pytest.fixture(params=["local", "gs"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "gs":
        return str(request.getfixturevalue("gs_uri"))
    return str(tmp_path / "store")


@pytest.fixture
def store(uri: str) -> Store:
    """The store at `uri`."""
    return open_store(uri)


@pytest.fixture
def proxy(emulator_url: str) -> Iterator[Proxy]:
    """In front of the emulator; `gs://` means it only where `STORAGE_EMULATOR_HOST` is set to its URL."""
    with Proxy(emulator_url) as between:
        yield between


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts trainers is a session of its own."""
    for item in items:
        if "zygote" in getattr(item, "fixturenames", ()):
            item.add_marker("processes")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where every part is installed, a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped") and session.exitstatus == 0:
        reporter.write_line("tests were skipped, and CI is set: everything they need must be installed there", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
