"""Render a forecast as text: its headline, its numbers, its chart and its assumptions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.bar import Bar
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spot.core.format import counted, hours
from spot.core.run import Provisioning, Run
from spot.core.tables import facts, table
from spot.pricing.quotes import described
from spot.report.histogram import picture
from spot.simulation.capacity import Supply
from spot.simulation.forecast import Baseline, Forecast, ReplayResults, quantile
from spot.simulation.startup_times import StartupRanges

LEAST = 0.001
"""Shares below this are not distinguished."""
BAR, ROW = 18, 21
"""Columns of a bar, and of the longest name of a row."""
NARROW, BARS, WIDE = 60, 70, 110
"""Columns below which there is no chart, no bar in a sweep, and above which nothing grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastResult:
    run: Run
    """The run of the settings; a sweep varies it."""
    supply: Supply
    starts: StartupRanges
    sweep: str | None
    """What varies from case to case: deadline or regions."""
    replays: int
    seed: int
    forecasts: Sequence[Forecast]
    notes: Sequence[str]

    def is_own(self, found: Forecast) -> bool:
        """Return whether a case of a sweep is the run of the settings."""
        spec, own = found.case.run.spec, self.run.spec
        return (spec.policy.regions, spec.deadline) == (own.policy.regions, own.deadline)


def parts(result: ForecastResult, columns: int) -> list[RenderableType]:
    """Return a forecast, or a sweep of forecasts, for a terminal of so many columns."""
    width = min(columns, WIDE)
    if result.sweep:
        shown: list[RenderableType] = [_sweep_table(result, bars=width >= BARS), "", _asked(result)]
    else:
        (found,) = result.forecasts
        shown = [headline(found), "", _asked(result), "", _numbers(found)]
        shown += ["", *picture(found, width)] if width >= NARROW else []
    return [*shown, "", *(Text(line, style="dim") for line in rests_on(result))]


def _numbers(found: Forecast) -> Table:
    ours, *others = Baseline
    shown = table("", f">{ours}", f">{' / '.join(others)}")
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
    rows.append(("preemptions", lambda one: f"{one.mean_preemptions:.1f}"))
    for name, value in rows:
        shown.add_row(name, value(found.of(ours)), " / ".join(value(found.of(one)) for one in others))
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
            Text(f"{ours.late} of {len(ours.replays)}", style="bold red" if ours.late else ""),
        ]
        if bars:
            cells.append("" if found.saving is None else Bar(1, 0, 1 - found.saving, width=BAR, color="green"))
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
    late = f"{ours.late} of {number} late ({chance(ours)}, {counted(ours.independent, 'independent window')})."
    return text.append(". ").append(late, style="bold red" if ours.late else "")


def saved(found: Forecast) -> Text:
    """Return the saving of a case against on-demand only, or its LOSS."""
    if found.saving is None:
        return Text(f"no model: {found.ours.unfinished}", style="bold red")
    if found.saving > -LEAST:
        return Text(percent(max(found.saving, 0.0)), style="green")
    return Text(f"LOSS {percent(-found.saving)}", style="bold red")


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
    policy, starts = result.run.spec.policy, result.starts
    number = min(one.ours.independent for one in result.forecasts)
    windows = (
        f"{counted(result.replays, 'random window')} of the capacity (seed {result.seed}), the same for every policy"
        f" and case; {number} of them do not overlap."
    )
    saves = f", and none in {percent(policy.saved_share)} of the cases" if policy.saved_share else ""
    model = (
        f"Provisioning takes {_range(starts.spot)} on spot and {_range(starts.on_demand)} on demand"
        f" (policy.worst_start_minutes), not billed. A restore takes {_range(starts.restore)}."
        f" A preemption costs up to {hours(policy.max_checkpoint_interval)} of work{saves}."
        f" Reconcile interval {hours(policy.reconcile_interval)}. The work takes exactly the stated hours, as if a"
        " succeeded run had measured it. Without such a run it counts double until a checkpoint."
    )
    return [*(["* the run of the settings"] if result.sweep else []), windows, model]


def _range(minutes: tuple[int, int]) -> str:
    return f"{minutes[0]}-{minutes[1]} min"
