"""What a setting's value may be: each rule answers None, or says what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from urllib.parse import urlsplit

Rule = Callable[[object], str | None]

LEAST = 0.01
"""Of every number that is not whole: shorter times would round to nothing."""
MAX_REGIONS = 20
MAX_TEXT = 1000

_REGION = re.compile(r"[a-z]{2,20}-[a-z]{4,20}[0-9]{1,2}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_IP_ADDRESS = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")


def shown(value: object) -> str:
    """The value in plain ASCII on one line, whatever is in it."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        quoted = ascii(value)
    except (ValueError, RecursionError):  # an integer of too many digits, tables too deep
        return f"a value too large to show ({type(value).__name__})"
    if len(quoted) <= 60:
        return quoted
    length = f" ({len(value)} characters)" if isinstance(value, str) else ""
    return f"{quoted[:50]}...{length}"


def text(pattern: str, allowed: str) -> Rule:
    """A string that the pattern matches as a whole."""
    compiled = re.compile(pattern)

    def rule(value: object) -> str | None:
        return None if isinstance(value, str) and compiled.fullmatch(value) else allowed

    return rule


def whole(least: int, most: int) -> Rule:
    def rule(value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return None
        return f"a whole number from {least} to {most}{_unquoted(value)}"

    return rule


def number(most: float) -> Rule:
    def rule(value: object) -> str | None:
        if isinstance(value, int | float) and not isinstance(value, bool) and LEAST <= value <= most:
            return None
        return f"a number from {LEAST:g} to {most:g}{_unquoted(value)}"

    return rule


def _unquoted(value: object) -> str:
    return ", without quotes" if isinstance(value, str) else ""


def word_or(word: str, otherwise: Rule) -> Rule:
    def rule(value: object) -> str | None:
        allowed = otherwise(value)
        return None if value == word or allowed is None else f'"{word}", or {allowed}'

    return rule


def one_of(kind: type[StrEnum]) -> Rule:
    def rule(value: object) -> str | None:
        return None if isinstance(value, str) and value in set(kind) else f"one of {', '.join(kind)}"

    return rule


def truth(value: object) -> str | None:
    return None if isinstance(value, bool) else f"true or false{_unquoted(value)}"


def regions(value: object) -> str | None:
    """Of the list; `region` is the rule for each of its items."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_REGIONS:
        return f'a list of 1 to {MAX_REGIONS} regions, as in ["us-central1", "us-east4"]'
    twice = [item for item in value if isinstance(item, str) and value.count(item) > 1]
    return f"each region once, and {shown(twice[0])} is there {value.count(twice[0])} times" if twice else None


def region(value: object) -> str | None:
    if isinstance(value, str) and _REGION.fullmatch(value):
        return None
    return "a region like us-central1, not a zone"


def bucket(value: object) -> str | None:
    if isinstance(value, str) and value.startswith("gs://"):
        return "the bucket's name alone, without gs://"
    if not isinstance(value, str) or not _BUCKET.fullmatch(value) or ".." in value:
        return "3 to 63 lower-case letters, digits, - _ and ., from a letter or digit to a letter or digit"
    if value.startswith("goog") or "google" in value:
        return "a name that does not start with goog and has no google in it: Cloud Storage keeps those"
    if _IP_ADDRESS.fullmatch(value):
        return "a name that is not an IP address"
    return None


def vertex_endpoint(value: object) -> str | None:
    filled = value.replace("{region}", "us-central1") if isinstance(value, str) else value
    if _is_url(filled):
        return None
    return "an http or https URL without a path, in which {region} stands for the region"


def storage_endpoint(value: object) -> str | None:
    if value == "" or _is_url(value):
        return None
    return 'an http or https URL without a path, or "" for Google\'s own'


def _is_url(value: object) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]{1,253}/?", value):
        return False
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, or no address
        return False


def argument(value: object) -> str | None:
    if isinstance(value, int | float):
        return None if abs(value) < 1e300 else "a number that is finite"
    if not isinstance(value, str):
        return "a text, a number, true or false"
    if not 1 <= len(value) <= MAX_TEXT or not value.isprintable():
        return f"1 to {MAX_TEXT} printable characters on one line"
    return "a text that does not begin with -, which the trainer takes for a flag" if value.startswith("-") else None
