"""Read the values of the trainer's flags. Each reader raises `ValueError` with what is allowed."""

import argparse
import contextlib
import math
import re
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

from spot.core.fields import ID, ID_ALLOWED, shown

_E = TypeVar("_E", bound=StrEnum)
_T = TypeVar("_T")


def explained(read: Callable[[str], _T]) -> Callable[[str], _T]:
    """Return `read` with messages that argparse shows."""

    def read_or_explain(text: str) -> _T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read_or_explain


def reader(allowed: str, parse: Callable[[str], _T | None]) -> Callable[[str], _T]:
    """Return a reader of the texts that `parse` returns a value for: not None, and no `ValueError`."""

    def read(text: str) -> _T:
        with contextlib.suppress(ValueError):
            if (value := parse(text)) is not None:
                return value
        raise ValueError(f"{shown(text)} is not {allowed}")

    return read


def one_of(kind: type[_E]) -> Callable[[str], _E]:
    return reader(f"one of {', '.join(kind)}", kind)


def whole(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to below 2**31."""

    def parse(text: str) -> int | None:
        return int(text) if re.fullmatch("[0-9]{1,10}", text) and least <= int(text) < 2**31 else None

    return reader(f"a whole number of at least {least}", parse)


def number(allowed: str, accepts: Callable[[float], bool]) -> Callable[[str], float]:
    """Return a reader of the numbers that `accepts` accepts."""
    return reader(allowed, lambda text: value if accepts(value := float(text)) else None)


def word_or(word: str, read: Callable[[str], _T]) -> Callable[[str], _T | None]:
    """Return a reader that returns None for `word`."""

    def read_either(text: str) -> _T | None:
        try:
            return None if text == word else read(text)
        except ValueError as error:
            raise ValueError(f"{error}, nor {word}") from None

    return read_either


positive = number("a number above 0", lambda value: 0 < value < math.inf)
truth = reader("true or false", {"true": True, "false": False}.get)
identifier = reader(ID_ALLOWED, lambda text: text if ID.fullmatch(text) else None)
location = reader("a gs:// URI or a local path", lambda text: text if text and text.isprintable() else None)
