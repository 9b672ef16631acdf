"""Read the values of the trainer's flags. Each reader raises `ValueError` with what is allowed."""

import math
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

from spot.core.fields import ID

_E = TypeVar("_E", bound=StrEnum)
_T = TypeVar("_T")


def one_of(kind: type[_E]) -> Callable[[str], _E]:
    """Return a reader of the members of `kind`."""

    def read(text: str) -> _E:
        if text not in set(kind):
            raise ValueError(f"{text!r} is not one of {', '.join(kind)}")
        return kind(text)

    return read


def whole(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 10 or not least <= int(text) < 2**31:
            raise ValueError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return read


def number(allowed: str, accepts: Callable[[float], bool]) -> Callable[[str], float]:
    """Return a reader of the numbers that `accepts` accepts."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not accepts(value):
            raise ValueError(f"{text!r} is not {allowed}")
        return value

    return read


positive = number("a number above 0", lambda value: 0 < value < math.inf)


def word_or(word: str, read: Callable[[str], _T]) -> Callable[[str], _T | None]:
    """Return a reader that returns None for `word`."""

    def read_either(text: str) -> _T | None:
        try:
            return None if text == word else read(text)
        except ValueError as error:
            raise ValueError(f"{error}, nor {word}") from None

    return read_either


def truth(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def identifier(text: str) -> str:
    if not ID.fullmatch(text):
        raise ValueError(f"{text!r} is not 1 to 63 of a-z, 0-9, _ and -, starting with a-z or 0-9")
    return text


def location(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError(f"{text!r} is neither a gs:// URI nor a local path")
    return text
