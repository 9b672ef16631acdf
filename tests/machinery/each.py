"""Inject the same fault into calls or requests, whatever their kind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_Call = TypeVar("_Call")
_Fault = TypeVar("_Fault")


def always(_: object) -> bool:
    return True


def each(
    fault: _Fault, *, where: Callable[[_Call], bool] = always, count: float = float("inf")
) -> Callable[[_Call], _Fault | None]:
    """Return a rule that injects `fault` into the first `count` calls that satisfy `where`."""
    lock, left = threading.Lock(), count

    def rule(call: _Call) -> _Fault | None:
        nonlocal left
        with lock:
            if left <= 0 or not where(call):
                return None
            left -= 1
            return fault

    return rule
