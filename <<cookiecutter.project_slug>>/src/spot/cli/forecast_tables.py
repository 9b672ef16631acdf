"""Render a forecast as text: its headline, its numbers and its assumptions. Nothing is printed here."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spot.core.format import counted, hours
from spot.core.run import Provisioning
from spot.core.tables import facts, table
from spot.pricing.quotes import described
from spot.simulation.capacity import Supply
from spot.simulation.forecast import Baseline, Forecast, ReplayResults, quantile
from spot.simulation.startup_times import StartupRanges

FIGURES = ("preemptions", "attempts", "spot_hours", "on_demand_hours", "hours_without_machine")
"""The figures of a replay besides cost and end, as in JSON."""
LEAST = 0.001
"""Shares below this are not distinguished."""
ROW, WIDE = 21, 110
"""Columns of the longest name of a row, and of a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastResult:
    """Hold a forecast and everything that it was made of."""

    supply: Supply
    replays: int
    seed: int
    forecast: Forecast
    notes: Sequence[str]


def parts(result: ForecastResult) -> list[RenderableType]:
    """Return a forecast for a terminal."""
    found = result.forecast
    numbers: list[RenderableType] = ["", headline(found), "", _numbers(found), ""]
    return [_asked(result), *numbers, *(Text(line, style="dim") for line in rests_on(result))]


def _numbers(found: Forecast) -> Table:
    shown = table("", *(f">{baseline}" for baseline in Baseline))
    shown.columns[0].min_width, shown.columns[0].no_wrap = ROW, True
    rows: list[tuple[str, Callable[[ReplayResults], str]]] = [
        ("cost, mean", lambda one: money(one.mean_usd)),
        ("  half of them", lambda one: f"{_usd(one, 0.25)} to {_usd(one, 0.75)}"),
        ("  95 % below", lambda one: _usd(one, 0.95)),
        ("done after, median", lambda one: _hours(one, 0.5)),
        ("  95 % before", lambda one: _hours(one, 0.95)),
        ("late", lambda one: f"{one.late} of {len(one.replays)}"),
        ("late, share", lambda one: chance(one).replace("95 % upper bound", "<")),
    ]
    if any(found.of(baseline).unfinished for baseline in Baseline):
        rows.append(("no model", lambda one: f"{one.unfinished} of {len(one.replays)}"))
    for name, value in rows:
        shown.add_row(name, *(value(found.of(baseline)) for baseline in Baseline))
    for name in FIGURES:
        figure = attrgetter(name)
        shown.add_row(name.replace("_", " "), *(f"{found.of(baseline).mean(figure):.1f}" for baseline in Baseline))
    return shown


def _usd(samples: ReplayResults, share: float) -> str:
    return money(quantile(samples.usd, share) or 0.0)


def _hours(samples: ReplayResults, share: float) -> str:
    value = quantile(samples.ends, share)
    return "never" if value is None or math.isinf(value) else f"{value:.1f} h"


def _asked(result: ForecastResult) -> Table:
    run = result.forecast.run
    policy, machine, time = run.spec.policy, run.spec.machine, hours(run.spec.deadline - run.submitted_at)
    prices = (
        f"{region} ${usd[Provisioning.SPOT]:.2f}/h spot, ${usd[Provisioning.ON_DEMAND]:.2f}/h on demand"
        for region, usd in policy.usd_per_hour.items()
    )
    rows = [
        (
            "run",
            f"{hours(policy.work)} of work, {time} to the deadline, {policy.strategy} in {', '.join(policy.regions)}",
        ),
        ("machine", f"{described(machine)}, {result.supply.machines} GPU" if machine.accelerator else machine.type),
        ("prices", "; ".join(prices)),
        ("capacity", result.supply.origin),
    ]
    return facts([*rows, *(("note", line) for line in (*result.supply.notes, *result.notes))])


def money(usd: float) -> str:
    """Format dollars: `$12.34`, `$1,234`."""
    return f"${usd:,.2f}" if usd < 1000 else f"${usd:,.0f}"


def percent(share: float) -> str:
    """Format a share: `< 0.1%`, `5.3%`, `21%`."""
    if 0 < share < LEAST:
        return f"< {LEAST:.1%}"
    return f"{share:.1%}" if 0 < abs(share) < 0.1 else f"{share:.0%}"


def headline(found: Forecast) -> Text:
    """Return the expected cost, the saving or LOSS, and the odds to be late."""
    ours = found.ours
    number = len(ours.replays)
    text = Text(f"Expect {money(ours.mean_usd)}", style="bold")
    if ours.unfinished:
        text.append(f" and no model in {ours.unfinished} of {number} replays", style="bold red")
    else:
        text.append(": ").append_text(_saving(1 - ours.mean_usd / found.on_demand.mean_usd))
        text.append(_against_the_window(found))
    late = f"{ours.late} of {number} late ({chance(ours)}, {counted(ours.independent, 'independent window')})."
    return text.append(". ").append(late, style="bold red" if ours.late else "")


def _against_the_window(found: Forecast) -> str:
    """Compare with the fixed window; say nothing if that policy may end without a model."""
    if found.spot_window.unfinished:
        return ""
    less = 1 - found.ours.mean_usd / found.spot_window.mean_usd
    if abs(less) < LEAST:
        return f", as much as the {Baseline.SPOT_WINDOW}"
    return f", {percent(abs(less))} {'less' if less > 0 else 'more'} than the {Baseline.SPOT_WINDOW}"


def _saving(saving: float) -> Text:
    if abs(saving) < LEAST:
        return Text("as much as on-demand only")
    if saving > 0:
        return Text(f"{percent(saving)} less than on-demand only", style="bold green")
    return Text(f"a LOSS of {percent(-saving)} against on-demand only", style="bold red")


def chance(samples: ReplayResults) -> str:
    """Return the share of late replays, or the bound that zero of them allow."""
    if samples.late_upper_bound is not None:
        return f"95 % upper bound {percent(max(samples.late_upper_bound, LEAST))}"
    return percent(samples.late / len(samples.replays))


def rests_on(result: ForecastResult) -> list[str]:
    """Return the assumptions of a forecast."""
    policy = result.forecast.run.spec.policy
    starts = StartupRanges.of(policy)
    windows = (
        f"{counted(result.replays, 'random window')} of the capacity (seed {result.seed}), the same for every policy;"
        f" {result.forecast.ours.independent} of them do not overlap."
    )
    model = (
        f"Provisioning takes {_range(starts.spot)} on spot and {_range(starts.on_demand)} on demand"
        f" (policy.worst_start_minutes), not billed. A restore takes {_range(starts.restore)}."
        f" A preemption costs up to {hours(policy.max_checkpoint_interval)} of work."
        f" Reconcile interval {hours(policy.reconcile_interval)}. The work takes exactly the stated hours, as if a"
        " succeeded run had measured it. Without such a run it counts double until a checkpoint."
    )
    return [windows, model]


def _range(minutes: tuple[int, int]) -> str:
    return f"{minutes[0]}-{minutes[1]} min"
