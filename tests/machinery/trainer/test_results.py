"""Test that results are complete once `completion.json` exists, and are the same when written again after a kill."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping

import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, Store, Written, never
from spot.storage.records import completion
from spot.storage.records.lease import LeaseLost
from spot.trainer.results import check_writable, write_results
from spot.trainer.runtime.errors import TrainingError
from tests.machinery.clocks import ManualClock
from tests.machinery.storage.memory import MemoryStore

CLOCK = ManualClock()

WEIGHTS = {"w": torch.arange(6.0).view(2, 3).T}
OTHER_WEIGHTS = {"w": torch.zeros(1)}
METRICS = {"steps": 3}
COMPLETION = paths.output("run", paths.COMPLETION)


def test_a_run_without_completion_is_not_complete(store: Store) -> None:
    assert completion.read(store, "run") is None


def test_completion_pins_the_written_objects(store: Store) -> None:
    write_results(
        store, "run", WEIGHTS, METRICS, {"attempt": "a"}, clock=CLOCK, ended=CLOCK.monotonic(), check_lease=None
    )
    found = completion.read(store, "run")
    assert found is not None
    for name in (paths.MODEL, paths.METRICS):
        written = store.read(paths.output("run", name))
        assert found.objects[name].generation == written.generation
        assert found.objects[name].size == len(written.data)
    assert torch.equal(load(store.read("run/model.safetensors").data)["w"], WEIGHTS["w"])
    assert json.loads(store.read("run/metrics.json").data) == METRICS


def test_results_of_a_killed_start_are_replaced(store: Store) -> None:
    store.write("run/model.safetensors", b"of a start that did not get to the end", if_generation=ABSENT)
    write_results(store, "run", WEIGHTS, METRICS, {}, clock=CLOCK, ended=CLOCK.monotonic(), check_lease=None)
    assert torch.equal(load(store.read("run/model.safetensors").data)["w"], WEIGHTS["w"])
    assert completion.read(store, "run")


def test_only_one_process_completes_a_run(store: Store) -> None:
    write_results(store, "run", WEIGHTS, METRICS, {}, clock=CLOCK, ended=CLOCK.monotonic(), check_lease=None)
    with pytest.raises(TrainingError, match="another process completed run run"):
        write_results(store, "run", WEIGHTS, METRICS, {}, clock=CLOCK, ended=CLOCK.monotonic(), check_lease=None)


class Killed(Exception): ...


class KillingStore(MemoryStore):
    """Raise `Killed` instead of writing the completion while `kills`."""

    kills = False

    def write(
        self, name: str, data: bytes | memoryview, *, if_generation: int, cancelled: Callable[[], bool] = never
    ) -> Written:
        if self.kills and name == COMPLETION:
            raise Killed
        return super().write(name, data, if_generation=if_generation, cancelled=cancelled)


def left_half_done(store: KillingStore, weights: Mapping[str, Tensor]) -> None:
    store.kills = True
    with pytest.raises(Killed):
        write_results(
            store,
            "run",
            weights,
            METRICS,
            {"attempt": "killed"},
            clock=CLOCK,
            ended=CLOCK.monotonic(),
            check_lease=held,
        )
    store.kills = False


def held() -> None:
    """Check a lease that is held."""


def completed_by(store: Store) -> str:
    """Return the attempt that completed the run, and assert that the objects of its completion exist."""
    found = completion.read(store, "run")
    assert found is not None
    for name in (paths.MODEL, paths.METRICS):
        assert found.objects[name].generation == store.read(paths.output("run", name)).generation
    return str(json.loads(store.read(COMPLETION).data)["attempt"])


def test_results_of_a_replaced_writer_are_replaced() -> None:
    store = KillingStore()
    left_half_done(store, OTHER_WEIGHTS)
    write_results(
        store, "run", WEIGHTS, METRICS, {"attempt": "holder"}, clock=CLOCK, ended=CLOCK.monotonic(), check_lease=held
    )
    assert completed_by(store) == "holder"
    assert torch.equal(load(store.read("run/model.safetensors").data)["w"], WEIGHTS["w"])


def test_a_late_completion_of_a_replaced_writer_is_replaced_if_it_names_other_results() -> None:
    store = KillingStore()
    left_half_done(store, OTHER_WEIGHTS)

    def late() -> None:
        with contextlib.suppress(Conflict):
            store.write(COMPLETION, b'{"attempt": "former", "time": "2026-11-28T00:00:00Z"}', if_generation=ABSENT)

    write_results(
        store, "run", WEIGHTS, METRICS, {"attempt": "holder"}, clock=CLOCK, ended=CLOCK.monotonic(), check_lease=late
    )
    assert completed_by(store) == "holder"


def test_a_late_completion_of_the_same_results_stands() -> None:
    """Its writer sent it before it was replaced and killed, and had written the same model and metrics."""
    store = KillingStore()
    write_results(
        store,
        "run",
        WEIGHTS,
        METRICS,
        {"attempt": "former"},
        clock=CLOCK,
        ended=CLOCK.monotonic(),
        check_lease=lambda: left_half_done(store, WEIGHTS),
    )
    assert completed_by(store) == "former"


@pytest.mark.parametrize("weights", [WEIGHTS, OTHER_WEIGHTS])
def test_a_run_that_another_start_completed_stays_as_it_is(weights: Mapping[str, Tensor], store: Store) -> None:
    """The late start trained on, or was frozen until the lease was deleted."""
    write_results(
        store, "run", WEIGHTS, METRICS, {"attempt": "first"}, clock=CLOCK, ended=CLOCK.monotonic(), check_lease=held
    )
    before = store.list("")
    write_results(
        store, "run", weights, METRICS, {"attempt": "late"}, clock=CLOCK, ended=CLOCK.monotonic(), check_lease=held
    )
    assert store.list("") == before
    assert completed_by(store) == "first"


def test_a_replaced_writer_replaces_no_result(store: Store) -> None:
    def replaced() -> None:
        raise LeaseLost("the lease of run run is a5.1's")

    store.write("run/model.safetensors", b"the holder's", if_generation=ABSENT)
    with pytest.raises(LeaseLost):
        write_results(store, "run", WEIGHTS, METRICS, {}, clock=CLOCK, ended=CLOCK.monotonic(), check_lease=replaced)
    assert store.read("run/model.safetensors").data == b"the holder's"
    assert completion.read(store, "run") is None


def test_the_probe_for_permission_leaves_nothing(store: Store) -> None:
    check_writable(store, "run")
    check_writable(store, "run")
    assert store.list("") == []
