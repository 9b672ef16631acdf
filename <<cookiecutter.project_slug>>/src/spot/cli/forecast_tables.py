"""Render a forecast as text: its headline, its numbers, its chart and its assumptions. Nothing is printed here."""

import math
from collections.abc import Callable

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spot.core.format import hours
from spot.core.run import Provisioning
from spot.core.tables import facts, table
from spot.pricing.quotes import described
from spot.report.forecast_wording import FIGURES, ForecastResult, chance, headline, money, rests_on, saved
from spot.report.histogram import bar, picture
from spot.simulation.forecast import Baseline, Forecast, ReplayResults, quantile

BAR, ROW = 18, 21
"""Columns of a bar, and of the longest name of a row."""
NARROW, BARS, WIDE = 60, 70, 110
"""Columns below which there is no chart, no bar in a sweep, and above which nothing grows."""


def parts(result: ForecastResult, columns: int) -> list[RenderableType]:
    """Return a forecast, or a sweep of forecasts, for a terminal of so many columns."""
    width = min(columns, WIDE)
    shown: list[RenderableType] = [_asked(result), ""]
    if result.sweep:
        shown.append(_sweep_table(result, bars=width >= BARS))
    else:
        (found,) = result.forecasts
        shown += [headline(found), "", _numbers(found)]
        shown += ["", *picture(found, width)] if width >= NARROW else []
    return [*shown, "", *(Text(line, style="dim") for line in rests_on(result))]


def _numbers(found: Forecast) -> Table:
    shown = table("", *(f">{baseline}" for baseline in Baseline))
    shown.columns[0].min_width, shown.columns[0].no_wrap = ROW, True
    rows: list[tuple[str, Callable[[ReplayResults], str]]] = [
        ("cost, mean", lambda one: money(one.mean_usd)),
        ("  half of them", lambda one: f"{_usd(one, 0.25)} to {_usd(one, 0.75)}"),
        ("  95 % below", lambda one: _usd(one, 0.95)),
        ("done after, median", lambda one: _hours(one, 0.5)),
        ("  95 % before", lambda one: _hours(one, 0.95)),
        ("late", lambda one: f"{one.missed} of {len(one.replays)}"),
        ("late, share", lambda one: chance(one).replace("95 % upper bound", "<")),
    ]
    if any(found.of(baseline).unfinished for baseline in Baseline):
        rows.append(("no model", lambda one: f"{one.unfinished} of {len(one.replays)}"))
    for name, value in rows:
        shown.add_row(name, *(value(found.of(baseline)) for baseline in Baseline))
    for name, figure in FIGURES.items():
        shown.add_row(name.replace("_", " "), *(f"{found.of(baseline).mean(figure):.1f}" for baseline in Baseline))
    return shown


def _usd(samples: ReplayResults, share: float) -> str:
    return money(quantile(samples.usd, share) or 0.0)


def _hours(samples: ReplayResults, share: float) -> str:
    value = quantile(samples.ends, share)
    return "never" if value is None or math.isinf(value) else f"{value:.1f} h"


def _sweep_table(result: ForecastResult, *, bars: bool) -> Table:
    names = (">cost", ">saving", ">done", ">late", *(["of on-demand only"] if bars else []))
    shown = table(result.sweep or "", *names, whole=[name.lstrip(">") for name in names])
    shown.columns[0].max_width = 26
    if bars:
        shown.columns[-1].min_width = BAR
    for found in result.forecasts:
        ours, is_own = found.ours, result.is_own(found)
        cells: list[RenderableType] = [
            f"{found.case.label}{' *' if is_own else ''}",
            money(ours.mean_usd),
            saved(found),
            _hours(ours, 0.5),
            Text(f"{ours.missed} of {len(ours.replays)}", style="bold red" if ours.missed else ""),
        ]
        if bars:
            cells.append(Text("" if found.saving is None else bar(1 - found.saving, BAR), style="green"))
        shown.add_row(*cells, style="bold" if is_own else "")
    return shown


def _asked(result: ForecastResult) -> Table:
    run, policy, machine = result.run, result.run.spec.policy, result.run.spec.machine
    where = "" if result.sweep == "regions" else f" in {', '.join(policy.regions)}"
    time = "" if result.sweep == "deadline" else f", {hours(run.spec.deadline - run.submitted_at)} to the deadline"
    regions = dict.fromkeys(region for one in result.forecasts for region in one.case.run.spec.policy.regions)
    rows = [
        ("run", f"{hours(policy.work)} of work{time}, {policy.strategy}{where}"),
        ("machine", f"{described(machine)}, {result.supply.machines} GPU" if machine.accelerator else machine.type),
        ("prices", "; ".join(_price(result, region) for region in regions)),
        ("capacity", result.supply.origin),
    ]
    return facts([*rows, *(("note", line) for line in (*result.supply.notes, *result.notes))])


def _price(result: ForecastResult, region: str) -> str:
    prices = result.forecasts[0].case.run.spec.policy.usd_per_hour[region]
    return f"{region} ${prices[Provisioning.SPOT]:.2f}/h spot, ${prices[Provisioning.ON_DEMAND]:.2f}/h on demand"
