"""Choose the windows of a trace for the comparison, apart from those seen while the policy was tuned."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from spot.simulation.traces import Spans

BLOCKS = 6
"""The trace is cut into so many, which are for tuning and held back by turns."""


class Part(StrEnum):
    TUNING = "tuning"
    HELD_BACK = "held back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Where a run begins, in minutes from the first row of the trace."""

    start: int
    part: Part


def draw(known: Spans, *, length: int, count: int, seed: int) -> list[Window]:
    """`count` windows of `length` minutes at random, half of them of either part; none leaves its block or has a gap.

    So no window that is held back has a minute in common with one for tuning. Raises ValueError if there is no room.
    """
    block = known[-1][1] // BLOCKS
    rng = random.Random(f"{seed} windows")
    windows = []
    for turn, part in enumerate(Part):
        starts = [
            minute
            for begin, end in known
            for minute in range(begin, end - length + 1)
            if minute // block % len(Part) == turn and minute % block + length <= block
        ]
        if not starts:
            raise ValueError(f"blocks of {block} minutes have no room for windows of {length} minutes")
        windows += [Window(start=start, part=part) for start in rng.choices(starts, k=count // len(Part))]
    return windows
