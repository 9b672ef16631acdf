"""Choose the capacity of a forecast: measured, from a file, or generated; and note where it does not fit the run."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from spot.core.errors import SpotError
from spot.core.format import counted
from spot.core.run import Machine
from spot.pricing.estimate import mtbf
from spot.pricing.quotes import described
from spot.simulation.traces import SHIPPED, Series, Trace

MEASURED_GPU = "NVIDIA_H100_80GB"
LEAST_GENERATED = timedelta(days=90)
TIMES_THE_DEADLINE = 10
TIMES_UP_AND_DOWN = 100
"""A generated trace with fewer outages would not have the stated means."""
UNLIMITED = 10**9
"""Machines while there is capacity: as many as the run needs."""

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """Hold a trace that has every region of the run, and notes on where it comes from."""

    trace: Trace
    origin: str
    machines: int
    """How many must be available together; a trace counts machines with one GPU.

    An attempt gets all its machines or none, and loses all of them when the count falls below: capacity for 16 GPUs is
    taken to be capacity for two machines of 8. Both are assumptions; no trace of larger machines is public.
    """
    notes: tuple[str, ...]


def measured(trace: Trace, machine: Machine, regions: Sequence[str]) -> Supply:
    """Return the shipped trace, also for other GPUs and regions. Raise `SpotError` for more regions than it has."""
    notes = []
    if machine.accelerator != MEASURED_GPU:
        what = machine.accelerator or f"{machine.type} without a GPU"
        notes.append(f"no capacity was measured for {what}: that of {MEASURED_GPU} is used")
    sources = stand_ins(trace, regions)
    stood_in = [pair for pair in sources.items() if pair[0] != pair[1]]
    notes += [f"no capacity was measured in {region}: that of {source} is used" for region, source in stood_in]
    return _supply(trace, f"measured, of {MEASURED_GPU}, October 2025 ({SHIPPED})", machine, notes, sources)


def stand_ins(trace: Trace, regions: Sequence[str]) -> dict[str, str]:
    """Return the measured region that each region uses: itself, or the first unused one. Raise `SpotError`."""
    spare, sources = [region for region in trace.regions if region not in regions], dict[str, str]()
    for region in regions:
        if region not in trace.series and not spare:
            known = ", ".join(trace.regions)
            raise SpotError(
                f"no capacity was measured in {region}, and that of {known} is used already: name fewer --regions,"
                " or use --trace or --mtbf-hours"
            )
        sources[region] = region if region in trace.series else spare.pop(0)
    return sources


def from_file(trace: Trace, machine: Machine, regions: Sequence[str]) -> Supply:
    """Return a user's own trace. Raise `SpotError` for a region that it does not have."""
    return _supply(trace, f"measured, {trace.name}", machine, [], {region: region for region in regions})


def assumed(
    regions: Sequence[str], machine: Machine, *, between: timedelta, outage: timedelta, deadline: timedelta, seed: int
) -> Supply:
    """Generate capacity with a mean time `between` preemptions of one machine and a mean `outage`.

    The first preemption of any machine ends an attempt, and machines are preempted independently.
    """
    between = mtbf(machine, between)
    length = max(LEAST_GENERATED, TIMES_THE_DEADLINE * deadline, TIMES_UP_AND_DOWN * (between + outage))
    minutes = length // _MINUTE
    series = {}
    for region in regions:
        changes = list(_changes(random.Random(f"{seed} {region}"), between, outage, minutes))
        series[region] = Series(
            minutes=tuple(float(minute) for minute, _ in changes),
            counts=tuple(UNLIMITED if up else 0 for _, up in changes),
            known=((0, minutes),),
        )
    trace = Trace(name="generated capacity", start=datetime(2000, 1, 1, tzinfo=UTC), series=series)
    up, down = between / timedelta(hours=1), outage / _MINUTE
    origin = f"generated: {up:g} h up and {down:g} min down on average, both exponential"
    notes = ["measured outages are mostly shorter than their mean, and some last for days: expect worse than this"]
    return _supply(trace, origin, machine, notes, {region: region for region in regions})


def _changes(rng: random.Random, between: timedelta, outage: timedelta, minutes: int) -> Iterator[tuple[int, bool]]:
    """Yield each minute of a change, and whether there is capacity from then on."""
    up = rng.random() < between / (between + outage)
    at = 0.0
    while at < minutes:
        yield round(at), up
        at += max(rng.expovariate(1 / ((between if up else outage) / _MINUTE)), 1.0)
        up = not up


def _supply(trace: Trace, origin: str, machine: Machine, notes: Sequence[str], sources: Mapping[str, str]) -> Supply:
    trace.known([*sources.values()])
    trace = replace(trace, series={region: trace.series[source] for region, source in sources.items()})
    most = max(max(series.counts) for series in trace.series.values())
    if most < machine.ranks:
        raise SpotError(
            f"{trace.name} counts at most {counted(most, 'machine')} with one GPU, and {described(machine)} needs"
            f" {machine.ranks} together: use --mtbf-hours and --outage-minutes, or a --trace with larger counts"
        )
    gaps = [line for line in [trace.gap_warning(trace.regions)] if line]
    return Supply(trace=trace, origin=origin, machines=machine.ranks, notes=(*notes, *gaps))
