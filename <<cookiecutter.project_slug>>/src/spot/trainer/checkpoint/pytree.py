"""Nested state (an optimizer's, a scheduler's, a generator's) as JSON plus named tensors, and back, exactly.

Loading it runs no code, as a pickle would, and needs no list of allowed classes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

Json = Any

_KEY = "$"
"""A dict with this key stands for what JSON does not have; `tensor` and `array` refer to a tensor by name."""


def pack(value: object, name: str, tensors: dict[str, Tensor]) -> Json:
    """The JSON form of `value`; its tensors are added to `tensors` under names that start with `name`.

    Raises `TypeError` naming the place of a value that has no exact form.
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
    """What `pack` was given. Tensors are copies: an optimizer keeps what it is given, and updates it in place."""
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
