"""Which capacity a forecast goes by: measured, from a file, or generated; and what of it does not fit the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from spot.core.run import Machine
from spot.simulation.trace_generator import generated
from spot.simulation.traces import SHIPPED, Trace, TraceError

MEASURED_GPU = "NVIDIA_H100_80GB"
MEASURED = f"of {MEASURED_GPU}, October 2025 ({SHIPPED})"
LEAST_GENERATED = timedelta(days=90)
TIMES_THE_DEADLINE = 10
TIMES_UP_AND_DOWN = 100
"""Of fewer the means would be luck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """The trace has the run's regions, whichever were measured."""

    trace: Trace
    origin: str
    machines: int
    """That must be had together: a count of the trace is of machines with one GPU."""
    notes: tuple[str, ...]


def measured(trace: Trace, machine: Machine, regions: Sequence[str]) -> Supply:
    """The shipped trace, for regions and a GPU that may be other ones. Raises `TraceError` for more than it has."""
    notes = []
    if machine.accelerator != MEASURED_GPU:
        what = machine.accelerator or f"{machine.type} without a GPU"
        notes.append(f"no capacity was measured for {what}: that of {MEASURED_GPU} is used")
    sources = stand_ins(trace, regions)
    for region, source in sources.items():
        if source != region:
            notes.append(f"no capacity was measured in {region}: that of {source} is used")
    return _supply(_renamed(trace, sources), f"measured, {MEASURED}", machine, notes)


def stand_ins(trace: Trace, regions: Sequence[str]) -> dict[str, str]:
    """For each region the measured one whose capacity it is given: its own, else the first that is free.

    Raises `TraceError` for more than there are.
    """
    spare, sources = [region for region in trace.regions if region not in regions], dict[str, str]()
    for region in regions:
        if region not in trace.series and not spare:
            known = ", ".join(trace.regions)
            raise TraceError(
                f"no capacity was measured in {region}, and that of {known} is used already: fewer --regions,"
                " or --trace, or --mtbf-hours"
            )
        sources[region] = region if region in trace.series else spare.pop(0)
    return sources


def from_file(trace: Trace, machine: Machine, regions: Sequence[str]) -> Supply:
    """Raises `TraceError` for a region that it does not have."""
    return _supply(_renamed(trace, {region: region for region in regions}), f"measured, {trace.name}", machine, [])


def assumed(
    regions: Sequence[str], machine: Machine, *, between: timedelta, outage: timedelta, deadline: timedelta, seed: int
) -> Supply:
    """`between` is the mean time to a preemption, `outage` the mean time without capacity."""
    length = max(LEAST_GENERATED, TIMES_THE_DEADLINE * deadline, TIMES_UP_AND_DOWN * (between + outage))
    trace = generated(regions, between=between, outage=outage, length=length, seed=seed)
    origin = (
        f"generated: {between / timedelta(hours=1):g} h up and {outage / timedelta(minutes=1):g} min down on average,"
        " both exponential"
    )
    notes = ["measured outages are mostly shorter than their mean, and some last for days: expect worse than this"]
    return _supply(trace, origin, machine, notes)


def _renamed(trace: Trace, sources: dict[str, str]) -> Trace:
    for source in sources.values():
        trace.known([source])
    series = {region: trace.series[source] for region, source in sources.items()}
    return Trace(name=trace.name, start=trace.start, series=series)


def _supply(trace: Trace, origin: str, machine: Machine, notes: Sequence[str]) -> Supply:
    doubts = [line for line in [trace.doubts(trace.regions)] if line]
    return Supply(trace=trace, origin=origin, machines=max(machine.accelerator_count, 1), notes=(*notes, *doubts))
