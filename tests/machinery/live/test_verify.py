"""Test `spot verify-live` end to end against emulators: every probe, every answer in two variants, and its bill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from spot.config.settings import Settings
from spot.emulators.faults import Method
from spot.live.assumptions import ASSUMPTIONS
from spot.live.verify import LIMIT_USD, LiveResult, plan, verify
from spot.storage.factory import open_store
from spot.storage.records import facts
from tests.machinery.clocks import START
from tests.machinery.google.google_server import GoogleServer
from tests.machinery.live.variants import (
    ALL_DIFFERENT,
    AS_ASSUMED,
    STORAGE_ALL_DIFFERENT,
    STORAGE_AS_ASSUMED,
    google_all_different,
    google_as_assumed,
    storage,
)
from tests.machinery.live.world import LiveWorld, Variant
from tests.machinery.proxy import Proxy

CALLS_A_MINUTE = 600
"""The default quota of Vertex AI for reads and writes of resources in a region."""
USD_PER_REQUEST = 0.05 / 10_000
"""Of a write or a list, the dearest requests of Cloud Storage."""
pytestmark = pytest.mark.rehearsals
Live = Callable[[Variant], LiveWorld]


def verified(settings: Settings, world: LiveWorld) -> LiveResult:
    return verify(plan(settings, None), world.clock)


def test_every_question_is_answered_as_assumed_and_the_bill_is_under_a_dollar(
    live: Live, settings: Settings, google: GoogleServer, proxy: Proxy
) -> None:
    google_as_assumed(google)
    proxy.rule = storage(STORAGE_AS_ASSUMED)
    world = live(AS_ASSUMED)
    result = verified(settings, world)
    assert result.problems == ()
    different = {name: one.value for name, one in result.facts.items() if not one.as_assumed}
    assert different == {}
    assert result.facts.keys() == ASSUMPTIONS.keys()
    assert world.running() == []
    assert facts.read(open_store(settings.root)).facts == result.facts
    calls = Counter(call.method for call in world.server.calls)
    assert calls[Method.CREATE] == len(result.plan.probes)
    minutes = (world.clock.now() - START) / timedelta(minutes=1)
    assert sum(calls.values()) < CALLS_A_MINUTE * minutes
    bill = result.plan.total_usd + USD_PER_REQUEST * len(proxy.requests)
    print(f"\n{dict(calls)}, {len(proxy.requests)} of Cloud Storage, {minutes:.0f} min: ${bill:.2f}")
    assert 0.1 < bill < LIMIT_USD


def test_every_question_is_answered_differently(
    live: Live, settings: Settings, google: GoogleServer, proxy: Proxy
) -> None:
    google_all_different(google)
    proxy.rule = storage(STORAGE_ALL_DIFFERENT, refuse="on-demand")
    world = live(ALL_DIFFERENT)
    result = verified(settings, world)
    same = {name: one.value for name, one in result.facts.items() if one.as_assumed}
    assert same == {"peer-signal": "SIGTERM"}, "no test depends on the signal of a peer, so that both agree"
    assert result.unanswered == ()
