"""A desk for each test of the command line, in front of one Vertex AI for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.faults import never
from rehearsal.vertex_server import VertexServer
from spot import reconcile
from spot.vertex import ENDPOINT
from tests.spot.desk import Desk, no_jobs, spot_toml


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
    monkeypatch.setattr(reconcile, "SETTLE_EVERY_S", 0.02)
    toml = tmp_path / "spot.toml"
    toml.write_text(spot_toml(gs_uri))
    return Desk(toml=toml, root=gs_uri, server=vertex_server, capsys=capsys)
