"""Provide a forecast of made-up replays whose numbers can be checked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from spot.cli.forecast_tables import ForecastResult
from spot.simulation.capacity import Supply
from spot.simulation.forecast import Case, Forecast, ReplayResult, ReplayResults
from spot.simulation.startup_times import StartupRanges
from spot.simulation.traces import Series, Trace
from tests.machinery import samples

TRACE = Trace(
    name="t.csv",
    start=datetime(2025, 10, 4, tzinfo=UTC),
    series={"us-central1": Series(minutes=(0.0,), counts=(1,), known=((0, 9000),))},
)
CASE = Case(label="us-central1", run=samples.run(regions=("us-central1",)))
"""10 h of work, 24 h to the deadline."""


def replays(usd: Sequence[float], hours: Sequence[float | None], *, apart: int = 60, **changes: Any) -> ReplayResults:
    """Late after 24 hours; one begins each hour."""
    return ReplayResults(
        apart=apart,
        replays=tuple(
            ReplayResult(
                **{
                    "start": 60 * index,
                    "usd": cost,
                    "hours": end,
                    "late": end is None or end > 24,
                    "preemptions": 2,
                    **changes,
                }
            )
            for index, (cost, end) in enumerate(zip(usd, hours, strict=True))
        ),
    )


def forecast(case: Case = CASE, **changes: ReplayResults) -> Forecast:
    """Ours costs $4 to $6, on-demand only $10, and one of four in the fixed Spot window is late."""
    made_up = {
        "ours": replays([6, 4, 5, 5], [12, 11, 14, 13]),
        "on_demand": replays([10] * 4, [10.2] * 4),
        "spot_window": replays([6, 6, 6, 7], [11, 12, 13, 25]),
    }
    return Forecast(case=case, **{**made_up, **changes})


def shown(*forecasts: Forecast, sweep: str | None = None, notes: Sequence[str] = ()) -> ForecastResult:
    supply = Supply(trace=TRACE, origin="measured, t.csv", machines=1, notes=("a note on capacity",))
    return ForecastResult(
        run=CASE.run,
        supply=supply,
        starts=StartupRanges.of(CASE.run.spec.policy),
        sweep=sweep,
        replays=4,
        seed=7,
        forecasts=forecasts or (forecast(),),
        notes=notes,
    )
