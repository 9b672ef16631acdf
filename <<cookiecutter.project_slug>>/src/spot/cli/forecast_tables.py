"""Render a forecast as text: its headline, its numbers, its chart and its assumptions."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spot.core.format import counted, hours, percent
from spot.core.run import Provisioning, Run
from spot.core.tables import facts, table
from spot.pricing.quotes import described
from spot.report import wording as words
from spot.simulation.capacity import Supply
from spot.simulation.forecast import Baseline, Forecast, ReplayResults, quantile
from spot.simulation.startup_times import StartupRanges

WIDE = 110
"""Columns above which nothing grows."""
BLOCKS = "▁▂▃▄▅▆▇█"
LABEL = 24
"""Columns of the names on the left of a chart."""
_STYLES = {Baseline.OURS: "green", Baseline.ON_DEMAND: "blue", Baseline.SPOT_WINDOW: "yellow"}


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


def parts(result: ForecastResult, columns: int) -> list[RenderableType]:
    """Return a forecast, or a sweep of forecasts, for a terminal of so many columns."""
    if result.sweep:
        shown: list[RenderableType] = [_sweep_table(result), "", _asked(result)]
    else:
        (found,) = result.forecasts
        shown = [headline(found), "", _asked(result), "", _numbers(found), "", *picture(found, min(columns, WIDE))]
    return [*shown, "", *(Text(line, style="dim") for line in rests_on(result))]


def _numbers(found: Forecast) -> Table:
    ours, *others = Baseline
    shown = table("", f">{ours}", f">{' / '.join(others)}")
    shown.columns[0].no_wrap = True
    rows: list[tuple[str, Callable[[ReplayResults], str]]] = [
        ("cost, mean", lambda one: words.usd(one.mean_usd)),
        ("  half of them", lambda one: f"{_usd(one, 0.25)} to {_usd(one, 0.75)}"),
        ("  95 % below", lambda one: _usd(one, 0.95)),
        ("done after, median", lambda one: _hours(one, 0.5)),
        ("  95 % before", lambda one: _hours(one, 0.95)),
        ("late", lambda one: f"{one.late} of {len(one.replays)}"),
        ("preemptions", lambda one: f"{one.mean_preemptions:.1f}"),
    ]
    for name, value in rows:
        shown.add_row(name, value(found.of(ours)), " / ".join(value(found.of(one)) for one in others))
    return shown


def _usd(samples: ReplayResults, share: float) -> str:
    return words.usd(quantile(samples.usd, share) or 0.0)


def _hours(samples: ReplayResults, share: float) -> str:
    value = quantile(samples.ends, share)
    return "never" if value is None or math.isinf(value) else f"{value:.1f} h"


def _sweep_table(result: ForecastResult) -> Table:
    names = (">cost", ">against on-demand only", ">done", ">late")
    shown = table(result.sweep or "", *names, whole=["cost", "done", "late"])
    for found in result.forecasts:
        ours = found.ours
        late = Text(f"{ours.late} of {len(ours.replays)}", style="bold red" if ours.late else "")
        shown.add_row(found.case.label, words.usd(ours.mean_usd), _saving(found), _hours(ours, 0.5), late)
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


def headline(found: Forecast) -> Text:
    """Return the expected cost, the saving or LOSS against on-demand only, and the odds to be late."""
    ours = found.ours
    late = (
        f"{ours.late} of {len(ours.replays)} late ({chance(ours)}, {counted(ours.independent, 'independent window')})."
    )
    text = Text(f"Expect {words.usd(ours.mean_usd)}: ", style="bold").append_text(_saving(found))
    text.append("" if ours.unfinished else " than on-demand only")
    return text.append(". ").append(late, style="bold red" if ours.late else "")


def _saving(found: Forecast) -> Text:
    if found.saving is None:
        return Text(f"no model in {found.ours.unfinished} of {len(found.ours.replays)} replays", style="bold red")
    saving = round(found.saving, 2)
    if saving >= 0:
        return Text(f"{percent(abs(saving))} less", style="bold green")
    return Text(f"LOSS, {percent(-saving)} more", style="bold red")


def chance(samples: ReplayResults) -> str:
    """Return the share of late replays, or the bound that zero of them allow."""
    if samples.late_upper_bound is not None:
        return f"95 % upper bound {percent(samples.late_upper_bound)}"
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
    return [windows, model]


def _range(minutes: tuple[int, int]) -> str:
    return f"{minutes[0]}-{minutes[1]} min"


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
