"""Values on a common scale: counted into bins, and drawn with blocks of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From `least` to `most`, both included, in steps that people count in."""

    least: float
    most: float
    step: float

    @property
    def ticks(self) -> list[float]:
        number = round((self.most - self.least) / self.step)
        return [self.least + self.step * index for index in range(number + 1)]

    def share(self, value: float) -> float:
        """0 at the least, 1 at the most."""
        return (value - self.least) / (self.most - self.least)

    def bin(self, value: float, bins: int) -> int:
        return min(max(int(self.share(value) * bins), 0), bins - 1)

    def counts(self, values: Sequence[float], bins: int) -> list[int]:
        found = [0] * bins
        for value in values:
            found[self.bin(value, bins)] += 1
        return found


def scale(least: float, most: float, steps: int = 5) -> Scale:
    """About so many steps of 1, 2 or 5 times a power of ten."""
    rough = max(most - least, 1e-9) / steps
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * 0.999)
    first = math.floor(least / step + 1e-9) * step
    return Scale(least=first, most=max(math.ceil(most / step - 1e-9) * step, first + step), step=step)


def blocks(counts: Sequence[int], height: int) -> list[str]:
    """Lines, the uppermost first; the fullest bin is as high as all of them, and none that has something is empty."""
    levels, most = height * (len(BLOCKS) - 1), max(counts, default=0) or 1
    heights = [math.ceil(count / most * levels) for count in counts]
    full = len(BLOCKS) - 1
    return [
        "".join(BLOCKS[min(max(height_of - row * full, 0), full)] for height_of in heights)
        for row in reversed(range(height))
    ]


def axis(of: Scale, width: int, name: str) -> str:
    """The ticks' labels, each below its place; `name` is put before each number, as `$`."""
    line = [" "] * (width + 12)
    for tick in of.ticks:
        label = f"{name}{tick:,.10g}"
        at = min(round(of.share(tick) * width), width - 1)
        at = max(min(at - (len(label) // 2 if at else 0), width - len(label)), 0)
        if any(cell != " " for cell in line[max(at - 1, 0) : at + len(label)]):
            continue
        line[at : at + len(label)] = label
    return "".join(line[:width]).rstrip()
