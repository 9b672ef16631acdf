"""Render a forecast as one SVG file: no network, light and dark."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from spot.core.format import hours
from spot.report.forecast_wording import ForecastResult, chance, headline, money, rests_on, saved
from spot.report.histogram import Scale, hours_scale, spread, usd_scale
from spot.report.render import render
from spot.simulation.forecast import Baseline, Forecast

WIDTH, LEFT, RIGHT, MARGIN = 760, 225, 30, 20
LANE, BAR = 46, 26
"""Heights of a histogram, and of a bar of a sweep with its label."""
BINS = 90
LINE = 120
"""Characters of the smallest text."""
_PLOT = WIDTH - LEFT - RIGHT
_CLASSES = {Baseline.OURS: "ours", Baseline.ON_DEMAND: "demand", Baseline.SPOT_WINDOW: "window"}


@dataclass(slots=True, kw_only=True)
class _Drawing:
    """Collect shapes from top to bottom; `y` is where the next part begins."""

    y: float = 14.0
    texts: list[dict[str, object]] = field(default_factory=list)
    rects: list[dict[str, object]] = field(default_factory=list)

    def text(self, x: float, dy: float, text: str, style: str, anchor: str = "start") -> None:
        self.texts.append({"x": x, "y": self.y + dy, "text": text, "style": style, "anchor": anchor})

    def rect(self, x: float, dy: float, width: float, height: float, style: str, radius: int = 0) -> None:
        size = {"x": x, "y": self.y + dy, "width": width, "height": height}
        self.rects.append({**size, "style": style, "radius": radius})

    def lines(self, text: str, characters: int, dy: float, style: str, height: float) -> None:
        for line in textwrap.wrap(text, characters):
            self.text(MARGIN, dy, line, style)
            self.y += height

    def axis(self, scale: Scale, unit: str, height: float) -> None:
        for tick in scale.ticks:
            self.text(LEFT + scale.share(tick) * _PLOT, 14, f"{unit}{tick:,.10g}", "soft", "middle")
        self.y += height


def svg(shown: ForecastResult) -> str:
    """Return a whole document."""
    drawing = _Drawing()
    _head(drawing, shown)
    if shown.sweep:
        _sweep(drawing, shown)
    else:
        _histograms(drawing, shown.forecasts[0])
    for text in rests_on(shown):
        drawing.lines(text, LINE, 15, "foot", 15)
    return render(
        "forecast.svg.j2",
        title=f"What {shown.sweep} buys" if shown.sweep else f"Forecast: {headline(shown.forecasts[0]).plain}",
        width=WIDTH,
        height=drawing.y + 20,
        rects=drawing.rects,
        texts=drawing.texts,
    )


def _head(drawing: _Drawing, shown: ForecastResult) -> None:
    policy, run = shown.run.spec.policy, shown.run
    time = hours(run.spec.deadline - run.submitted_at)
    asked = f"{hours(policy.work)} of work, {time} to the deadline, {policy.strategy}, {', '.join(policy.regions)}"
    if shown.sweep:
        title = "What a later deadline buys" if shown.sweep == "deadline" else "What another region buys"
        drawing.lines(title, 80, 16, "head", 24)
    else:
        drawing.lines(headline(shown.forecasts[0]).plain, 80, 16, "head", 22)
    for text in (f"{asked}. Capacity {shown.supply.origin}.", *shown.supply.notes, *shown.notes):
        drawing.lines(text, LINE - 10, 14, "soft", 18)
    drawing.y += 14


def _histograms(drawing: _Drawing, found: Forecast) -> None:
    usd, time = usd_scale([found]), hours_scale(found)
    drawing.lines("What it costs", LINE, 14, "name", 24)
    for policy in Baseline:
        samples = found.of(policy)
        _lane(drawing, policy, f"{money(samples.mean_usd)} on average", usd.counts(samples.usd, BINS))
    drawing.axis(usd, "$", 44)
    drawing.lines("Hours from submit to the model", LINE, 14, "name", 24)
    at = LEFT + time.share(found.case.deadline_hours) * _PLOT
    drawing.rect(at - 0.75, -10, 1.5, LANE * 3 + 14, "bad")
    drawing.text(at - 4, 0, "deadline", "soft", "end")
    drawing.y += 4
    for policy in Baseline:
        samples = found.of(policy)
        missed = f"{samples.missed} late ({chance(samples)})"
        if samples.unfinished:
            missed = f"{samples.missed - samples.unfinished} late, no model: {samples.unfinished}"
        _lane(drawing, policy, missed, time.counts(samples.hours, BINS), bad=bool(samples.missed))
    drawing.axis(time, "", 36)


def _lane(drawing: _Drawing, policy: Baseline, number: str, counts: Sequence[int], *, bad: bool = False) -> None:
    """Draw one histogram; a bin that holds anything is at least 1.5 high."""
    most, width, foot = max(counts) or 1, _PLOT / BINS, LANE - 4
    for index, count in enumerate(counts):
        if count:
            height = max(count / most * (LANE - 10), 1.5)
            drawing.rect(LEFT + index * width, foot - height, width - 0.6, height, _CLASSES[policy])
    drawing.rect(LEFT, foot, _PLOT, 1, "line")
    drawing.text(MARGIN, 20, policy, "name")
    drawing.text(MARGIN, 37, number, "soft bad" if bad else "soft")
    drawing.y += LANE


def _sweep(drawing: _Drawing, shown: ForecastResult) -> None:
    usd = usd_scale(shown.forecasts)
    for found in shown.forecasts:
        *above, last = textwrap.wrap(found.case.label + (" *" if shown.is_own(found) else ""), 26)
        for line in above:
            drawing.lines(line, 26, 17, "name", 17)
        _bar(drawing, found, usd, last)
    drawing.axis(usd, "$", 26)
    drawing.text(LEFT, 14, "Bar: mean cost. Line: half of the replays. Blue: on-demand only.", "soft")
    drawing.y += 24


def _bar(drawing: _Drawing, found: Forecast, usd: Scale, label: str) -> None:
    ours, saving = found.ours, saved(found)
    low, high = (usd.share(cost) * _PLOT for cost in spread(ours))
    late = ours.missed - ours.unfinished
    is_good = saving.style == "green"
    text = f"{money(ours.mean_usd)}, {saving.plain}{' saved' if is_good else ''}{f', {late} late' if late else ''}"
    drawing.text(MARGIN, 17, label, "name")
    drawing.rect(LEFT, 2, usd.share(ours.mean_usd) * _PLOT, 12, "ours", 2)
    drawing.rect(LEFT + low, 7, max(high - low, 1), 2, "half")
    drawing.rect(LEFT + usd.share(found.on_demand.mean_usd) * _PLOT - 1, -2, 2.5, 20, "demand")
    drawing.text(LEFT, 27, text, "soft" if is_good and not ours.missed else "bad")
    drawing.y += BAR + 14
