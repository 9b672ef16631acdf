"""Results are complete when `completion.json` exists, and writing them again after a kill gives the same."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load

from bucket import layout
from bucket.store import ABSENT, Store
from trainer.errors import TrainingError
from trainer.output import check_writable, read_completion, write_results

WEIGHTS = {"w": torch.arange(6.0).view(2, 3).T}
METRICS = {"steps": 3}


def test_a_run_without_completion_is_not_complete(store: Store) -> None:
    assert read_completion(store, "run") is None


def test_completion_pins_what_was_written(store: Store) -> None:
    write_results(store, "run", WEIGHTS, METRICS, {"attempt": "a"})
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
    write_results(store, "run", WEIGHTS, METRICS, {})
    assert torch.equal(load(store.read("run/model.safetensors").data)["w"], WEIGHTS["w"])
    assert read_completion(store, "run")


def test_only_one_process_completes_a_run(store: Store) -> None:
    write_results(store, "run", WEIGHTS, METRICS, {})
    with pytest.raises(TrainingError, match="another process completed run run"):
        write_results(store, "run", WEIGHTS, METRICS, {})


def test_the_probe_for_permission_leaves_nothing(store: Store) -> None:
    check_writable(store, "run")
    check_writable(store, "run")
    assert store.list("") == []
