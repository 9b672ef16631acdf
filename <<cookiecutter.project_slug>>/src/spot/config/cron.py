"""What GitHub accepts as a schedule, checked before GitHub ignores it in silence."""

from __future__ import annotations

import re

_LONGEST = 100
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (  # its name, least and greatest value, names of values
    ("a minute", 0, 59, ()),
    ("an hour", 0, 23, ()),
    ("a day of the month", 1, 31, ()),
    ("a month", 1, 12, _MONTHS),
    ("a weekday", 0, 6, _WEEKDAYS),
)
_ITEM = re.compile(r"(?:\*|([0-9]{1,2}|[A-Z]{3})(?:-([0-9]{1,2}|[A-Z]{3}))?)(?:/([0-9]{1,2}))?")


def schedule(value: object) -> str | None:
    """None, or what is allowed."""
    fields = value.split(" ") if isinstance(value, str) and len(value) <= _LONGEST else []
    if len(fields) != len(_FIELDS):
        return "five fields, one space between: minute, hour, day of the month, month, weekday, as in 17 3 * * 1"
    for field, (name, least, greatest, names) in zip(fields, _FIELDS, strict=True):
        if not all(_is_item(item, least, greatest, names) for item in field.split(",")):
            spelled = f" or {names[0]} to {names[-1]}" if names else ""
            return f"{name} is {least} to {greatest}{spelled}, *, a range a-b, a step */n, or a list of these"
    return None


def _is_item(item: str, least: int, greatest: int, names: tuple[str, ...]) -> bool:
    match = _ITEM.fullmatch(item)
    if match is None:
        return False
    first, last, step = match.groups()
    ends = [_value(part, least, names) for part in (first, last) if part]
    in_range = all(least <= end <= greatest for end in ends) and ends == sorted(ends)
    return in_range and (step is None or 1 <= int(step) <= greatest)


def _value(part: str, least: int, names: tuple[str, ...]) -> int:
    if part in names:
        return names.index(part) + least
    return int(part) if part.isdecimal() else -1
