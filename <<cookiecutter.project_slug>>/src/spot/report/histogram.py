"""Draw the costs and the ends of a forecast with block characters: a line for each policy, on a common scale."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from spot.simulation.forecast import Baseline, Forecast

BLOCKS = "▁▂▃▄▅▆▇█"
LABEL = 24
"""Columns of the names on the left."""
_STYLES = {Baseline.OURS: "green", Baseline.ON_DEMAND: "blue", Baseline.SPOT_WINDOW: "yellow"}


def picture(found: Forecast, width: int) -> list[Text]:
    """Return the histograms of costs and ends, in lines of at most `width` columns."""
    usd = {policy: found.of(policy).usd for policy in Baseline}
    hours = {policy: found.of(policy).hours for policy in Baseline}
    costs = _histogram("what it costs", usd, [0.0], width - LABEL, "$")
    deadline = [found.case.deadline_hours]
    title = "hours from submit to the model; │ is the deadline"
    return [*costs, Text(), *_histogram(title, hours, deadline, width - LABEL, mark=deadline[0])]


def _histogram(
    title: str,
    values: Mapping[Baseline, Sequence[float]],
    within: Sequence[float],
    columns: int,
    unit: str = "",
    mark: float | None = None,
) -> Iterator[Text]:
    """Yield a title, a line for each policy, and the ends of a scale that holds all values and those of `within`."""
    every = [*within, *(value for numbers in values.values() for value in numbers)]
    least, most = math.floor(min(every)), math.ceil(max(every))

    def place(value: float) -> int:
        return min(int((value - least) / max(most - least, 1) * columns), columns - 1)

    yield Text(title, style="bold")
    for policy, numbers in values.items():
        counts = Counter(map(place, numbers))
        full = max(counts.values(), default=1)
        levels = (math.ceil(counts[column] / full * len(BLOCKS)) for column in range(columns))
        text = Text(f"{policy:<{LABEL}}").append("".join(f" {BLOCKS}"[level] for level in levels), _STYLES[policy])
        if mark is not None and not counts[place(mark)]:
            at = LABEL + place(mark)
            text = text[:at].append("│", "bold red").append_text(text[at + 1 :])
        text.rstrip()
        yield text
    left, right = f"{unit}{least:,}", f"{unit}{most:,}"
    yield Text(f"{'':{LABEL}}{left}{right:>{columns - len(left)}}", style="dim")
