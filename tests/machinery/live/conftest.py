"""Provide a project whose services a variant answers for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests

from spot.config.settings import Settings
from spot.emulators.vertex_server import VertexServer
from spot.google.vertex import ENDPOINT
from spot.storage.gcs import EMULATOR
from tests.machinery.google.google_project import google_project, settings_with
from tests.machinery.google.google_server import GoogleServer
from tests.machinery.live.world import LiveWorld, Variant
from tests.machinery.proxy import Proxy

_prefixes = itertools.count(1)


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleServer]:
    with google_project() as server:
        monkeypatch.setenv("GCE_METADATA_HOST", server.url.removeprefix("http://"))
        yield server


@pytest.fixture
def settings(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings whose bucket exists, behind the proxy."""
    requests.post(f"{proxy.upstream}/storage/v1/b", json={"name": "my-bucket"}, timeout=10)
    monkeypatch.setenv(EMULATOR, proxy.url)
    return settings_with(prefix=f"live-{next(_prefixes)}", supervisor="github")


@pytest.fixture
def live(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Variant], LiveWorld]]:  # noqa: ARG001
    """Return a function that serves a variant."""
    with ExitStack() as stack:

        def serve(variant: Variant) -> LiveWorld:
            world = LiveWorld(variant)
            world.server = stack.enter_context(VertexServer(world.jobs, world.rule))
            stack.callback(world.close)
            monkeypatch.setenv(ENDPOINT, world.server.url)
            return world

        yield serve
