"""Count values into the bins of a common scale, and draw a forecast with block characters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from spot.simulation.forecast import Baseline, Forecast

BLOCKS = " ▁▂▃▄▅▆▇█"
LABEL = 24
"""Columns of the names on the left."""
HEIGHT = 2
"""Lines of a histogram."""
_STYLES = {Baseline.OURS: "green", Baseline.ON_DEMAND: "blue", Baseline.SPOT_WINDOW: "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A range, both ends included, with ticks at round numbers."""

    least: float
    most: float
    step: float

    @property
    def ticks(self) -> list[float]:
        number = round((self.most - self.least) / self.step)
        return [self.least + self.step * index for index in range(number + 1)]

    def share(self, value: float) -> float:
        """Return 0 for the least value and 1 for the most."""
        return (value - self.least) / (self.most - self.least)

    def bin(self, value: float, bins: int) -> int:
        return min(max(int(self.share(value) * bins), 0), bins - 1)

    def counts(self, values: Sequence[float], bins: int) -> list[int]:
        found = [0] * bins
        for value in values:
            found[self.bin(value, bins)] += 1
        return found


def scale(least: float, most: float, steps: int = 5) -> Scale:
    """Return about so many steps of 1, 2 or 5 times a power of ten."""
    rough = max(most - least, 1e-9) / steps
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * 0.999)
    first = math.floor(least / step + 1e-9) * step
    return Scale(least=first, most=max(math.ceil(most / step - 1e-9) * step, first + step), step=step)


def picture(found: Forecast, width: int) -> list[Text]:
    """Return the histograms of costs and ends, in lines of at most `width` columns."""
    columns = width - LABEL
    usd = scale(0.0, max(found.of(policy).usd[-1] for policy in Baseline))
    ends = [found.case.deadline_hours, *(hour for policy in Baseline for hour in found.of(policy).hours)]
    hours = scale(min(ends), max(ends))
    deadline = hours.bin(found.case.deadline_hours, columns)
    lines = [Text("what it costs", style="bold")]
    for policy in Baseline:
        lines += _lane(policy, usd.counts(found.of(policy).usd, columns))
    lines += [_axis(usd, columns, "$"), Text(), Text("hours from submit to the model; │ is the deadline", style="bold")]
    for policy in Baseline:
        lines += _lane(policy, hours.counts(found.of(policy).hours, columns), deadline)
    return [*lines, _axis(hours, columns, "")]


def blocks(counts: Sequence[int], height: int) -> list[str]:
    """Return lines, the uppermost first; the fullest bin has full height, and every count is visible."""
    full = len(BLOCKS) - 1
    most = max(counts, default=0) or 1
    levels = [math.ceil(count / most * height * full) for count in counts]
    return [
        "".join(BLOCKS[min(max(level - row * full, 0), full)] for level in levels) for row in reversed(range(height))
    ]


def axis(of: Scale, width: int, unit: str) -> str:
    """Return the labels of the ticks, each below its place, without those that have no room."""
    line = [" "] * (width + 12)
    for tick in of.ticks:
        label = f"{unit}{tick:,.10g}"
        at = min(round(of.share(tick) * width), width - 1)
        at = max(min(at - (len(label) // 2 if at else 0), width - len(label)), 0)
        if any(cell != " " for cell in line[max(at - 1, 0) : at + len(label)]):
            continue
        line[at : at + len(label)] = label
    return "".join(line[:width]).rstrip()


def _lane(policy: Baseline, counts: Sequence[int], mark: int | None = None) -> list[Text]:
    lines = []
    for row, line in enumerate(blocks(counts, HEIGHT)):
        label = policy if row == HEIGHT - 1 else ""
        text = Text(f"{label:<{LABEL}}").append(line, style=_STYLES[policy])
        if mark is not None and line[mark] == " ":
            at = LABEL + mark
            text = text[:at].append("│", style="bold red").append_text(text[at + 1 :])
        text.rstrip()
        lines.append(text)
    return lines


def _axis(of: Scale, columns: int, unit: str) -> Text:
    return Text(" " * LABEL + axis(of, columns, unit), style="dim")
