"""Cut windows out of a capacity trace, each as one run would have met it."""

import itertools
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spot.core.errors import SpotError
from spot.simulation.traces import Spans, Trace, merged

Capacity = Mapping[str, Spans]
"""By region, the minutes since submit with capacity for all machines of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Hold where a run of `minutes` can begin, and the capacity it meets."""

    minutes: int
    known: Spans
    ups: Mapping[str, Spans]

    def drawn(self, number: int, seed: int) -> list[int]:
        """Draw random starts, with repetition: the deadline comes before the next gap."""
        stretches = [range(begin, end - self.minutes + 1) for begin, end in self.known if end - begin >= self.minutes]
        before = [0, *itertools.accumulate(map(len, stretches))]
        picks = random.Random(f"{seed} windows").choices(range(before[-1]), k=number)
        places = [(pick, bisect_right(before, pick) - 1) for pick in picks]
        return [stretches[index][pick - before[index]] for pick, index in places]

    def capacity(self, start: int, minutes: int) -> Capacity:
        """Return the capacity from `start` on. After the end of its stretch, the stretch begins again."""
        stretch = next(span for span in self.known if span[0] <= start < span[1])
        return {region: merged(_cut(ups, stretch, start, minutes)) for region, ups in self.ups.items()}


def windows(trace: Trace, regions: Sequence[str], machines: int, minutes: int) -> Windows:
    """Return the windows of a trace. Raise `SpotError` for an unknown region or too short a trace."""
    for region in regions:
        if not trace.known([region]):
            raise SpotError(f"{trace.name}: {region} has counts in fewer than two lines; at least two are needed")
    known = trace.known(regions)
    longest = max((end - begin for begin, end in known), default=0)
    if longest < minutes:
        raise SpotError(
            f"{trace.name}: the longest stretch without a gap is {longest / 60:.1f} h, and the run has"
            f" {minutes / 60:.1f} h to its deadline: take a longer trace or a nearer deadline"
        )
    ups = {region: trace.up(region, machines) for region in regions}
    return Windows(minutes=minutes, known=known, ups=ups)


def _cut(ups: Spans, stretch: tuple[int, int], start: int, minutes: int) -> Iterator[tuple[int, int]]:
    (first, end), since = stretch, 0
    while since < minutes:
        shift = since - start
        for begin, until in ups[max(bisect_left(ups, (start, 0)) - 1, 0) :]:
            if begin >= end or begin + shift >= minutes:
                break
            yield max(begin + shift, since), min(until, end, minutes - shift) + shift
        since += end - start
        start = first
