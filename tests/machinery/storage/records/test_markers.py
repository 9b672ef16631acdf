"""Test markers: the number of each start is unique, and a start without an end is recognised."""

from __future__ import annotations

import json
import threading

import pytest

from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, Store
from spot.storage.factory import open_store
from spot.storage.records import markers


def read(store: Store, attempt: str, start: int, event: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(store.read(paths.marker("run", attempt, start, event)).data)
    return found


def test_starts_are_numbered_within_their_attempt(store: Store) -> None:
    assert [markers.claim_start(store, "run", "a", {}) for _ in range(11)] == list(range(1, 12))
    assert markers.claim_start(store, "run", "b", {}) == 1
    assert markers.claim_start(store, "run", "a", {}) == 12
    assert markers.count_starts(store, "run") == 13


def test_starts_of_other_runs_and_attempts_do_not_count(store: Store) -> None:
    markers.claim_start(store, "run-2", "a", {})
    markers.claim_start(store, "run", "a-2", {})
    assert markers.claim_start(store, "run", "a", {}) == 1
    assert markers.count_starts(store, "run") == 2
    assert markers.count_starts(store, "none") == 0


def test_ends_do_not_count_as_starts(store: Store) -> None:
    start = markers.claim_start(store, "run", "a", {})
    markers.write_end(store, "run", "a", start, {"exit_code": 143})
    assert markers.count_starts(store, "run") == 1
    assert markers.claim_start(store, "run", "a", {}) == 2


def test_a_marker_holds_the_facts_of_its_start_or_end(store: Store) -> None:
    started, ended = {"time": "2026-11-24T00:00:00+00:00", "host": "vm"}, {"exit_code": 1, "reason": "why"}
    start = markers.claim_start(store, "run", "a", started)
    markers.write_end(store, "run", "a", start, ended)
    found = (read(store, "a", 1, "started"), read(store, "a", 1, "ended"))
    assert found == ({"format": 1, **started}, {"format": 1, **ended})


def test_a_start_ends_once(store: Store) -> None:
    markers.write_end(store, "run", "a", 1, {})
    with pytest.raises(Conflict):
        markers.write_end(store, "run", "a", 1, {"another": "end"})


def test_foreign_objects_among_the_markers_are_passed_over(store: Store) -> None:
    for name in ("a/x-started.json", "a/1-paused.json", "a/b/1-started.json", "notes.txt"):
        store.write(paths.markers("run") + name, b"", if_generation=ABSENT)
    assert markers.count_starts(store, "run") == 0
    assert markers.claim_start(store, "run", "a", {}) == 1


def test_starts_at_the_same_moment_get_different_numbers(uri: str) -> None:
    """As when Vertex AI starts a machine again while the old one is not quite gone."""
    barrier, numbers = threading.Barrier(6), list[int]()

    def claim(name: int) -> None:
        store = open_store(uri)
        barrier.wait()
        numbers.append(markers.claim_start(store, "run", "a", {"nonce": name}))

    threads = [threading.Thread(target=claim, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
