"""Convert nested state (optimizer, schedule, generators) to JSON plus named tensors, and back, exactly.

Unlike unpickling, loading runs no code and needs no list of allowed classes.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spot.storage.records.manifest import Json
from spot.trainer.checkpoint.boxes import is_sharded, local

_KEY = "$"
"""Marks a dict that encodes a value JSON lacks; `tensor` and `array` refer to a tensor by name."""


def pack(value: object, name: str, tensors: dict[str, Tensor]) -> Json:
    """Return the JSON form of `value`, and add its tensors to `tensors` under names that start with `name`.

    Tied tensors are added once. Raise `TypeError` with the path of a value that has no exact form.
    """
    return _pack(value, name, tensors, {})


def _pack(value: object, name: str, tensors: dict[str, Tensor], firsts: dict[object, str]) -> Json:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {_KEY: "float", "is": repr(float(value))}
    if isinstance(value, Tensor) and value.layout is torch.strided:
        name = _free(tensors, name)
        first = _first(firsts, tensors, name, value)
        if first == name:
            tensors[name] = value.detach()
        return {_KEY: "tensor", "is": first}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        name = _free(tensors, name)
        tensors[name] = torch.from_numpy(value)
        return {_KEY: "array", "is": name}
    if isinstance(value, (list, tuple)):
        items = [_pack(item, f"{name}.{index}", tensors, firsts) for index, item in enumerate(value)]
        return {_KEY: "tuple", "is": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and _KEY not in value:
            return {key: _pack(item, f"{name}.{key}", tensors, firsts) for key, item in value.items()}
        pairs = [
            [_pack(key, name, tensors, firsts), _pack(item, f"{name}.{key}", tensors, firsts)]
            for key, item in value.items()
        ]
        return {_KEY: "dict", "is": pairs}
    raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint cannot hold: make it numbers or tensors")


def tied(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the names of tensors that are the same memory as an earlier one, with the name of the first."""
    firsts: dict[object, str] = {}
    found = {name: _first(firsts, tensors, name, tensor) for name, tensor in tensors.items()}
    return {name: first for name, first in found.items() if name != first}


def difference(built: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> str | None:
    """Return in which tensor two models differ by name, type or shape."""
    for name in {**built, **saved}:
        here, there = _describe(built.get(name)), _describe(saved.get(name))
        if here != there:
            return f"{name} is {there} in it and {here} here"
    return None


def unpack(value: Json, tensors: dict[str, Tensor]) -> Any:
    """Return the value that was packed. Tensors are copied, because an optimizer updates them in place.

    Sharded tensors are not: a restore builds them anew.
    """
    if isinstance(value, list):
        return [unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    inner: Json = value.get("is")
    match value.get(_KEY):
        case None:
            return {key: unpack(item, tensors) for key, item in value.items()}
        case "float":
            return float(inner)
        case "tensor":
            return tensors[inner] if is_sharded(tensors[inner]) else tensors[inner].clone()
        case "array":
            return tensors[inner].numpy().copy()
        case "tuple":
            return tuple(unpack(item, tensors) for item in inner)
        case "dict":
            return {unpack(key, tensors): unpack(item, tensors) for key, item in inner}
        case kind:
            raise ValueError(f"unknown kind {kind!r} in a checkpoint")


def _free(tensors: Mapping[str, Tensor], name: str) -> str:
    while name in tensors:  # {"a.b": ..., "a": {"b": ...}} and {1: ..., "1": ...} give one name twice
        name += "_"
    return name


def _first(firsts: dict[object, str], tensors: Mapping[str, Tensor], name: str, tensor: Tensor) -> str:
    """Return the name of the first tensor that is the same memory, and remember `name` if there is none."""
    address = local(tensor).data_ptr()
    first = firsts.setdefault(address, name)
    if first == name or _view(tensors[first]) == _view(tensor):
        return first
    return firsts.setdefault((address, _view(tensor)), name)  # in two steps: the views cost more than the rest


def _view(tensor: Tensor) -> object:
    return tensor.dtype, tensor.shape, tensor.stride()


def _describe(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
