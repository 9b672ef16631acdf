"""A forecast as people read it: the headline, the numbers, the picture, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spot.cli import console
from spot.cli.tables import facts
from spot.core.format import counted, hours
from spot.core.run import Provisioning, Run
from spot.pricing.quotes import described
from spot.report.forecast_picture import bar, picture
from spot.simulation.capacity import Supply
from spot.simulation.forecast import Baseline, Forecast, Samples, quantile, starts_of

BAR = 18
ROW = 19
"""Columns of the longest name of a row."""
NARROW, BARS, WIDE = 60, 70, 110
"""Columns: in fewer there is no picture, or no bar in a sweep; and more it does not take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """All that is told of."""

    run: Run
    """As the settings have it, whatever a sweep makes of it."""
    supply: Supply
    sweep: str | None
    """What varies from case to case: deadline or regions."""
    replays: int
    seed: int
    forecasts: Sequence[Forecast]
    notes: Sequence[str]


def show(shown: Shown) -> None:
    width = min(console.columns(), WIDE)
    parts: list[RenderableType] = [_asked(shown), ""]
    if shown.sweep:
        parts += [_sweep_table(shown, bars=width >= BARS)]
    else:
        (found,) = shown.forecasts
        parts += [headline(found), "", _numbers(found)]
        if width >= NARROW:
            parts += ["", *picture(found, width)]
    console.write(*parts, "", *(Text(line, style="dim") for line in rests_on(shown)))


LEAST = 0.001
"""No share is told more exactly."""


def money(usd: float) -> str:
    return f"${usd:,.2f}" if usd < 1000 else f"${usd:,.0f}"


def percent(share: float) -> str:
    if 0 < share < LEAST:
        return f"< {LEAST:.1%}"
    return f"{share:.1%}" if 0 < abs(share) < 0.1 else f"{share:.0%}"


def headline(found: Forecast) -> Text:
    """One or two sentences; a loss is called a loss, and no model no saving."""
    ours = found.ours
    number = len(ours.samples)
    text = Text(f"Expect {money(ours.mean_usd)}", style="bold")
    if ours.unfinished:
        text.append(f" and no model in {ours.unfinished} of {number} replays", style="bold red")
    else:
        text.append(": ").append_text(_saving(1 - ours.mean_usd / found.on_demand.mean_usd))
        text.append(_against_the_article(found))
    odds = chance(ours) if ours.missed else f"a chance {chance(ours)}: {_independent(ours)}"
    missed = f"{ours.missed} of {number} miss the deadline ({odds})."
    return text.append(". ").append(missed, style="bold red" if ours.missed else "")


def _against_the_article(found: Forecast) -> str:
    """Nothing where the article's rule may end without a model."""
    if found.article.unfinished:
        return ""
    less = 1 - found.ours.mean_usd / found.article.mean_usd
    if abs(less) < LEAST:
        return ", as much as the article's rule"
    return f", {percent(abs(less))} {'less' if less > 0 else 'more'} than the article's rule"


def _independent(samples: Samples) -> str:
    """What a chance rests on."""
    number = samples.independent
    return f"only {counted(number, 'window')} {'does' if number == 1 else 'do'} not overlap"


def saved(found: Forecast) -> Text:
    """In a sweep; green only where there is nothing to regret."""
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


def chance(samples: Samples) -> str:
    """`5.3 %`; for none of them what can be said all the same."""
    if samples.missed_at_most is not None:
        return f"below {percent(max(samples.missed_at_most, LEAST))}"
    return percent(samples.missed / len(samples.samples))


def _numbers(found: Forecast) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True, min_width=ROW)
    for rival in Baseline:
        table.add_column(rival, justify="right", overflow="fold")
    rows: list[tuple[str, Callable[[Samples], str]]] = [
        ("cost, mean", lambda one: money(one.mean_usd)),
        ("  half of them", lambda one: f"{_usd(one, 0.25)} to {_usd(one, 0.75)}"),
        ("  95 % below", lambda one: _usd(one, 0.95)),
        ("done after, median", lambda one: _hours(one, 0.5)),
        ("  95 % before", lambda one: _hours(one, 0.95)),
        ("deadline missed", lambda one: f"{one.missed} of {len(one.samples)}"),
        ("  chance, 95 % sure" if not found.ours.missed else "  chance", chance),
        ("preemptions", lambda one: f"{one.mean(lambda sample: sample.preemptions):.1f}"),
        ("machines asked for", lambda one: f"{one.mean(lambda sample: sample.asked):.1f}"),
        ("hours on spot", lambda one: f"{one.mean(lambda sample: sample.spot_hours):.1f}"),
        ("hours on demand", lambda one: f"{one.mean(lambda sample: sample.on_demand_hours):.1f}"),
        ("hours without", lambda one: f"{one.mean(lambda sample: sample.waited_hours):.1f}"),
    ]
    if any(found.of(rival).unfinished for rival in Baseline):
        rows.insert(7, ("  no model at all", lambda one: f"{one.unfinished} of {len(one.samples)}"))
    for name, value in rows:
        table.add_row(name, *(value(found.of(rival)) for rival in Baseline))
    return table


def _usd(samples: Samples, share: float) -> str:
    return money(quantile(samples.usd, share) or 0.0)


def _hours(samples: Samples, share: float) -> str:
    value = quantile(samples.ends, share)
    return "never" if value is None or math.isinf(value) else f"{value:.1f} h"


def _sweep_table(shown: Shown, *, bars: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(shown.sweep or "", overflow="fold", max_width=26)
    for name in ("cost", "saving", "done", "missed"):
        table.add_column(name, justify="right", no_wrap=True)
    if bars:
        table.add_column("of on-demand only", no_wrap=True, min_width=BAR)
    own = shown.run.spec.policy.regions, shown.run.spec.deadline
    for found in shown.forecasts:
        ours, case = found.ours, found.case.run
        asked = (case.spec.policy.regions, case.spec.deadline) == own
        cells: list[RenderableType] = [
            f"{found.case.label}{' *' if asked else ''}",
            money(ours.mean_usd),
            saved(found),
            _hours(ours, 0.5),
            Text(f"{ours.missed} of {len(ours.samples)}", style="bold red" if ours.missed else ""),
        ]
        if bars:
            cells.append(Text("" if found.saving is None else bar(1 - found.saving, BAR), style="green"))
        table.add_row(*cells, style="bold" if asked else "")
    return table


def _asked(shown: Shown) -> Table:
    run, policy = shown.run, shown.run.spec.policy
    machine = run.spec.machine
    where = "" if shown.sweep == "regions" else f" in {', '.join(policy.regions)}"
    time = "" if shown.sweep == "deadline" else f", {hours(run.spec.deadline - run.submitted_at)} to the deadline"
    rows = [
        ("run", f"{hours(policy.work)} of work{time}, {policy.strategy}{where}"),
        ("machine", f"{described(machine)}, {shown.supply.machines} GPU" if machine.accelerator else machine.type),
        ("prices", "; ".join(_price(shown, region) for region in _regions(shown))),
        ("capacity", shown.supply.origin),
    ]
    return facts([*rows, *(("note", line) for line in (*shown.supply.notes, *shown.notes))])


def _regions(shown: Shown) -> list[str]:
    return list(dict.fromkeys(region for one in shown.forecasts for region in one.case.run.spec.policy.regions))


def _price(shown: Shown, region: str) -> str:
    prices = shown.forecasts[0].case.run.spec.policy.usd_per_hour[region]
    return f"{region} ${prices[Provisioning.SPOT]:.2f}/h spot, ${prices[Provisioning.ON_DEMAND]:.2f}/h on demand"


def rests_on(shown: Shown) -> list[str]:
    """What it is a forecast of."""
    policy, starts = shown.run.spec.policy, starts_of(shown.run.spec.policy)
    number = min(one.ours.independent for one in shown.forecasts)
    windows = (
        f"{counted(shown.replays, 'window')} of the capacity at random (seed {shown.seed}), the same for every policy"
        f" and case. Of those that do not overlap there are {number}."
    )
    model = (
        f"Provisioning {_range(starts.spot)} on spot, {_range(starts.on_demand)} on demand"
        f" (policy.worst_start_minutes), not billed. Restore {_range(starts.restore)}."
        f" A preemption loses up to {hours(policy.max_checkpoint_interval)}."
        f" A pass every {hours(policy.reconcile_interval)}. The work takes exactly what is stated."
    )
    return [*(["* as the settings have it"] if shown.sweep else []), windows, model]


def _range(minutes: tuple[int, int]) -> str:
    return f"{minutes[0]}-{minutes[1]} min"
