"""Convert nested state (optimizer, schedule, generators) to JSON plus named tensors, and back, exactly.

Unlike unpickling, loading runs no code and needs no list of allowed classes.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

Json = Any

_KEY = "$"
"""Marks a dict that encodes a value JSON lacks; `tensor` and `array` refer to a tensor by name."""


def pack(value: object, name: str, tensors: dict[str, Tensor]) -> Json:
    """Return the JSON form of `value`, and add its tensors to `tensors` under names that start with `name`.

    Raise `TypeError` with the path of a value that has no exact form.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {_KEY: "float", "is": repr(float(value))}
    if isinstance(value, Tensor):
        tensors[name] = value.detach()
        return {_KEY: "tensor", "is": name}
    if isinstance(value, np.ndarray):
        tensors[name] = torch.from_numpy(value)
        return {_KEY: "array", "is": name}
    if isinstance(value, (list, tuple)):
        items = [pack(item, f"{name}.{index}", tensors) for index, item in enumerate(value)]
        return {_KEY: "tuple", "is": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and _KEY not in value:
            return {key: pack(item, f"{name}.{key}", tensors) for key, item in value.items()}
        pairs = [[pack(key, name, tensors), pack(item, f"{name}.{key}", tensors)] for key, item in value.items()]
        return {_KEY: "dict", "is": pairs}
    raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint cannot hold: make it numbers or tensors")


def unpack(value: Json, tensors: dict[str, Tensor]) -> Any:
    """Return the value that was packed. Tensors are copied, because an optimizer updates them in place."""
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
            return tensors[inner].clone()
        case "array":
            return tensors[inner].numpy().copy()
        case "tuple":
            return tuple(unpack(item, tensors) for item in inner)
        case "dict":
            return {unpack(key, tensors): unpack(item, tensors) for key, item in inner}
        case kind:
            raise ValueError(f"unknown kind {kind!r} in a checkpoint")
