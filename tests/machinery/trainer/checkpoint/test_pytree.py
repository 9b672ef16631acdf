"""Test that nested state is restored exactly from JSON and tensors."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from spot.trainer.checkpoint import pytree


def there_and_back(value: object) -> Any:
    tensors: dict[str, torch.Tensor] = {}
    return pytree.unpack(json.loads(json.dumps(pytree.pack(value, "x", tensors))), tensors)


def same(ours: object, theirs: object) -> bool:
    if isinstance(ours, torch.Tensor):
        return isinstance(theirs, torch.Tensor) and ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(ours, np.ndarray):
        return isinstance(theirs, np.ndarray) and ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, float) and math.isnan(ours):
        return math.isnan(theirs)  # type: ignore[arg-type]
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(same(*pair) for pair in zip(ours, theirs, strict=True))  # type: ignore
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in ours)  # type: ignore
    return ours == theirs


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
leaves = scalars | st.lists(st.floats(width=32, allow_nan=False), max_size=3).map(torch.tensor)
keys = st.text() | st.integers() | st.tuples(st.integers(), st.text())
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.just("$"), inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(trees)
def test_any_tree_comes_back_with_the_same_types_and_values(value: object) -> None:
    assert same(value, there_and_back(value))


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(random.getstate, id="python"),
        pytest.param(np.random.get_state, id="numpy"),
        pytest.param(torch.get_rng_state, id="torch"),
    ],
)
def test_the_state_of_every_generator_comes_back(state: Callable[[], object]) -> None:
    assert same(state(), there_and_back(state()))


@pytest.mark.parametrize("optimizer", [AdamW, SGD])
@pytest.mark.parametrize(
    "scheduler",
    [
        pytest.param(lambda it: CosineAnnealingLR(it, 10), id="cosine"),
        pytest.param(lambda it: OneCycleLR(it, 0.1, 10), id="one-cycle"),
        pytest.param(ReduceLROnPlateau, id="plateau"),
    ],
)
def test_the_state_of_optimizers_and_schedulers_comes_back(
    optimizer: Any, scheduler: Callable[[torch.optim.Optimizer], LRScheduler]
) -> None:
    layer = torch.nn.Linear(3, 2)
    opt = optimizer(layer.parameters(), lr=0.1)
    schedule = scheduler(opt)
    layer(torch.ones(1, 3)).sum().backward()
    opt.step()
    assert same(opt.state_dict(), there_and_back(opt.state_dict()))
    assert same(schedule.state_dict(), there_and_back(schedule.state_dict()))


def test_what_comes_back_shares_no_memory_with_what_was_given() -> None:
    tensors = {"x": torch.zeros(2)}
    pytree.unpack({"$": "tensor", "is": "x"}, tensors).fill_(1)
    assert torch.equal(tensors["x"], torch.zeros(2))


def test_a_value_without_an_exact_form_is_refused_by_its_place() -> None:
    with pytest.raises(TypeError, match=r"scheduler\.milestones is a Counter|scheduler\.milestones is a set"):
        pytree.pack({"milestones": {1, 2}}, "scheduler", {})


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(torch.eye(2).to_sparse(), id="sparse"),
        pytest.param(np.array(["text"]), id="text"),
        pytest.param(np.array([object()]), id="object"),
        pytest.param(np.float32(1), id="scalar"),
    ],
)
def test_an_array_without_an_exact_form_is_refused_by_its_place(value: object) -> None:
    with pytest.raises(TypeError, match=r"ema\.decay is a "):
        pytree.pack({"decay": value}, "ema", {})


def test_tied_tensors_are_stored_once() -> None:
    tied = torch.arange(6.0)
    tensors: dict[str, torch.Tensor] = {}
    packed = pytree.pack({"embedding": tied, "head": {"weight": tied.detach(), "bias": tied[:3]}}, "model", tensors)
    assert list(tensors) == ["model.embedding", "model.head.bias"]
    found = pytree.unpack(json.loads(json.dumps(packed)), tensors)
    assert same(found, {"embedding": tied, "head": {"weight": tied, "bias": tied[:3]}})


def test_a_tensor_and_two_of_the_same_view_of_it_are_stored_twice() -> None:
    flat = torch.arange(6.0)
    tensors: dict[str, torch.Tensor] = {}
    packed = pytree.pack({"flat": flat, "one": flat.view(2, 3), "two": flat.view(2, 3)}, "x", tensors)
    assert list(tensors) == ["x.flat", "x.one"]
    assert same(pytree.unpack(packed, tensors), {"flat": flat, "one": flat.view(2, 3), "two": flat.view(2, 3)})


@pytest.mark.parametrize("other", [torch.arange(4.0), torch.arange(4).view(2, 2), torch.arange(6)])
def test_tensors_that_only_look_alike_are_stored_apart(other: torch.Tensor) -> None:
    one = torch.arange(4)
    value = {"one": one, "view": one.view(2, 2), "bits": one.view(torch.float64), "tail": one[1:], "other": other}
    tensors: dict[str, torch.Tensor] = {}
    pytree.pack(value, "x", tensors)
    assert len(tensors) == len(value)
    assert same(there_and_back(value), value)


@pytest.mark.parametrize(
    "value", [{"a.b": 1, "a": {"b": 2}}, {"a": {"b": 1}, "a.b": 2}, {1: 1, "1": 2}, {"a": 1, "a_": 2}]
)
def test_keys_that_give_one_name_lose_no_tensor(value: dict[Any, Any]) -> None:
    def tensors(value: Any) -> Any:
        return {key: tensors(item) for key, item in value.items()} if isinstance(value, dict) else torch.tensor(value)

    assert same(there_and_back(tensors(value)), tensors(value))


def test_the_difference_of_two_models_is_named() -> None:
    model = {"a": torch.zeros(2), "b": torch.zeros(2, 3)}
    assert pytree.difference(model, dict(model)) is None
    assert pytree.difference(model, {"a": torch.zeros(2)}) == "b is absent in it and float32 (2, 3) here"
    assert pytree.difference({"a": torch.zeros(2)}, model) == "b is float32 (2, 3) in it and absent here"
    other = {**model, "a": torch.zeros(2, dtype=torch.int64)}
    assert pytree.difference(model, other) == "a is int64 (2,) in it and float32 (2,) here"
