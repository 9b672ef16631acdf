"""Results are complete when `completion.json` exists, and writing them again after a kill gives the same."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load

from bucket import layout
from bucket.lease import Relieved
from bucket.store import ABSENT, Store
from trainer.errors import TrainingError
from trainer.output import check_writable, read_completion, write_results

WEIGHTS = {"w": torch.arange(6.0).view(2, 3).T}
METRICS = {"steps": 3}


def test_a_run_without_completion_is_not_complete(store: Store) -> None:
    assert read_completion(store, "run") is None


def test_completion_pins_what_was_written(store: Store) -> None:
    write_results(store, "run", WEIGHTS, METRICS, {"attempt": "a"}, check_lease=None)
    completion = read_completion(store, "run")
    assert completion is not None
    for name in (layout.MODEL, layout.METRICS):
        found = store.read(layout.output("run", name))
        assert completion["objects"][name]["generation"] == found.generation
        assert completion["objects"][name]["size"] == len(found.data)
    assert torch.equal(load(store.read("run/model.safetensors").data)["w"], WEIGHTS["w"])
    assert json.loads(store.read("run/metrics.json").data) == METRICS


def test_what_a_killed_start_left_is_replaced(store: Store) -> None:
    store.write("run/model.safetensors", b"of a start that did not get to the end", if_generation=ABSENT)
    write_results(store, "run", WEIGHTS, METRICS, {}, check_lease=None)
    assert torch.equal(load(store.read("run/model.safetensors").data)["w"], WEIGHTS["w"])
    assert read_completion(store, "run")


def test_only_one_process_completes_a_run(store: Store) -> None:
    write_results(store, "run", WEIGHTS, METRICS, {}, check_lease=None)
    with pytest.raises(TrainingError, match="another process completed run run"):
        write_results(store, "run", WEIGHTS, METRICS, {}, check_lease=None)


def test_results_of_a_writer_that_was_relieved_are_replaced(store: Store) -> None:
    """It may have been anywhere: between two results, or before a last one that landed late."""

    def holder() -> None: ...

    write_results(store, "run", {"w": torch.zeros(1)}, {}, {"attempt": "former"}, check_lease=holder)
    write_results(store, "run", WEIGHTS, METRICS, {"attempt": "holder"}, check_lease=holder)
    completion = read_completion(store, "run")
    assert completion is not None
    assert completion["attempt"] == "holder"
    for name in (layout.MODEL, layout.METRICS):
        assert completion["objects"][name]["generation"] == store.read(layout.output("run", name)).generation


def test_a_writer_that_was_relieved_replaces_nothing(store: Store) -> None:
    def relieved() -> None:
        raise Relieved("the lease of run run is a5.1's")

    store.write("run/model.safetensors", b"the holder's", if_generation=ABSENT)
    with pytest.raises(Relieved):
        write_results(store, "run", WEIGHTS, METRICS, {}, check_lease=relieved)
    assert store.read("run/model.safetensors").data == b"the holder's"
    assert read_completion(store, "run") is None


def test_the_probe_for_permission_leaves_nothing(store: Store) -> None:
    check_writable(store, "run")
    check_writable(store, "run")
    assert store.list("") == []
