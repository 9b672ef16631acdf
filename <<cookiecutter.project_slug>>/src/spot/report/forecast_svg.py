"""The picture of a forecast as one SVG file: no network, light and dark."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from html import escape

from spot.cli.forecast_views import Shown, chance, headline, money, rests_on, saved
from spot.core.format import hours
from spot.report.forecast_picture import hours_scale, spread, usd_scale
from spot.report.histogram import Scale
from spot.simulation.forecast import Baseline, Forecast

WIDTH, LEFT, RIGHT = 760, 190, 30
LANE, BAR = 46, 26
"""Heights of a histogram, and of a bar of a sweep with what is around it."""
BINS = 90
LINE = 120
"""Characters of the smallest text."""
_PLOT = WIDTH - LEFT - RIGHT
_CLASSES = {Baseline.OURS: "ours", Baseline.ON_DEMAND: "demand", Baseline.ARTICLE: "article"}
_STYLE = """
svg{--page:#fff;--ink:#1f2328;--soft:#59636e;--line:#d1d9e0;--ours:#1a7f37;--demand:#0969da;--article:#9a6700;--bad:#cf222e}
@media(prefers-color-scheme:dark){svg{--page:#0d1117;--ink:#f0f6fc;--soft:#9198a1;--line:#3d444d;--ours:#3fb950;\
--demand:#4493f8;--article:#d29922;--bad:#f85149}}
text{font:13px system-ui,sans-serif;fill:var(--ink);font-variant-numeric:tabular-nums}
.page{fill:var(--page)}.head{font-size:16px;font-weight:600}.name{font-weight:600}.soft{fill:var(--soft);font-size:12px}
.foot{fill:var(--soft);font-size:11px}.line{stroke:var(--line)}.dead{stroke:var(--bad);stroke-width:1.5}.bad{fill:var(--bad)}
.ours{fill:var(--ours)}.demand{fill:var(--demand)}.article{fill:var(--article)}.half{stroke:var(--ink);stroke-width:2}
"""


def svg(shown: Shown) -> str:
    """A whole document."""
    head = _head(shown)
    body = [*head, *(_sweep(shown) if shown.sweep else _one(shown.forecasts[0]))]
    parts, y = [], 14.0
    for part, height in body:
        parts.append(f'<g transform="translate(0 {y:g})">{part}</g>' if part else "")
        y += height
    for line in (line for text in rests_on(shown) for line in textwrap.wrap(text, LINE)):
        y += 15
        parts.append(_text(20, y, line, "foot"))
    title = escape(f"Forecast: {headline(shown.forecasts[0]).plain}" if not shown.sweep else f"What {shown.sweep} buys")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 20:g}" role="img" aria-labelledby="t">'
        f'<title id="t">{title}</title><style>{_STYLE}</style>'
        f'<rect class="page" width="100%" height="100%"/>{"".join(parts)}</svg>\n'
    )


def _head(shown: Shown) -> Iterator[tuple[str, float]]:
    policy, run = shown.run.spec.policy, shown.run
    time = hours(run.spec.deadline - run.submitted_at)
    asked = f"{hours(policy.work)} of work, {time} to the deadline, {policy.strategy}, {', '.join(policy.regions)}"
    if shown.sweep:
        head = "What a later deadline buys" if shown.sweep == "deadline" else "What another region buys"
        yield _text(20, 16, head, "head"), 24
    else:
        for line in textwrap.wrap(headline(shown.forecasts[0]).plain, 88):
            yield _text(20, 16, line, "head"), 22
    for line in textwrap.wrap(f"{asked}. Capacity {shown.supply.origin}.", LINE - 10):
        yield _text(20, 14, line, "soft"), 18
    for line in (line for note in (*shown.supply.notes, *shown.notes) for line in textwrap.wrap(note, LINE - 10)):
        yield _text(20, 14, line, "soft"), 18
    yield "", 14


def _one(found: Forecast) -> Iterator[tuple[str, float]]:
    usd, time = usd_scale([found]), hours_scale(found)
    yield _text(20, 14, "What it costs", "name"), 24
    for rival in Baseline:
        one = found.of(rival)
        yield _lane(rival, f"{money(one.mean_usd)} on average", usd.counts(one.usd, BINS)), LANE
    yield _axis(usd, "$"), 44
    yield _text(20, 14, "Hours from submit to the model", "name"), 24
    at = LEFT + time.share(found.case.deadline_hours) * _PLOT
    label = _text(at - 4, 0, "deadline", "soft", "end")
    yield f'<path class="dead" d="M{at:.1f} -10v{LANE * 3 + 14}"/>{label}', 4
    for rival in Baseline:
        one = found.of(rival)
        missed = f"{one.missed} late ({chance(one)})"
        if one.unfinished:
            missed = f"{one.missed - one.unfinished} late, no model: {one.unfinished}"
        yield _lane(rival, missed, time.counts(one.hours, BINS), bad=bool(one.missed)), LANE
    yield _axis(time, ""), 36


def _lane(rival: Baseline, number: str, counts: Sequence[int], *, bad: bool = False) -> str:
    most, width, foot, height = max(counts) or 1, _PLOT / BINS, LANE - 4, LANE - 10
    bars = "".join(
        f'<rect x="{LEFT + index * width:.1f}" y="{foot - tall:.1f}" width="{width - 0.6:.1f}" height="{tall:.1f}"/>'
        for index, count in enumerate(counts)
        if count and (tall := max(count / most * height, 1.5))
    )
    return (
        f'<g class="{_CLASSES[rival]}">{bars}</g><path class="line" d="M{LEFT} {LANE - 3.5}h{_PLOT}"/>'
        f"{_text(20, 20, rival, 'name')}{_text(20, 37, number, 'soft bad' if bad else 'soft')}"
    )


def _axis(of: Scale, unit: str) -> str:
    return "".join(
        _text(LEFT + of.share(tick) * _PLOT, 14, f"{unit}{tick:,.10g}", "soft", "middle") for tick in of.ticks
    )


def _sweep(shown: Shown) -> Iterator[tuple[str, float]]:
    usd = usd_scale(shown.forecasts)
    own = shown.run.spec.policy.regions, shown.run.spec.deadline
    for found in shown.forecasts:
        case = found.case.run.spec
        star = " *" if (case.policy.regions, case.deadline) == own else ""
        for line in textwrap.wrap(found.case.label + star, 24)[:-1]:
            yield _text(20, 17, line, "name"), 17
        yield _bar(found, usd, textwrap.wrap(found.case.label + star, 24)[-1]), BAR + 14
    yield _axis(usd, "$"), 26
    yield _text(LEFT, 14, "Bar: mean cost. Line: half of the replays. Blue: on-demand only.", "soft"), 24


def _bar(found: Forecast, usd: Scale, label: str) -> str:
    ours = found.ours
    low, high = spread(ours)
    width, demand = usd.share(ours.mean_usd) * _PLOT, LEFT + usd.share(found.on_demand.mean_usd) * _PLOT
    late = ours.missed - ours.unfinished
    saving = saved(found)
    is_good = saving.style == "green"
    said = f"{money(ours.mean_usd)}, {saving.plain}{' saved' if is_good else ''}{f', {late} late' if late else ''}"
    x, span = LEFT + usd.share(low) * _PLOT, (usd.share(high) - usd.share(low)) * _PLOT
    inside = "soft" if is_good and not ours.missed else "bad"
    return (
        f"{_text(20, 17, label, 'name')}"
        f'<rect class="ours" x="{LEFT}" y="2" width="{width:.1f}" height="12" rx="2"/>'
        f'<path class="half" d="M{x:.1f} 8h{max(span, 1):.1f}"/>'
        f'<rect class="demand" x="{demand - 1:.1f}" y="-2" width="2.5" height="20"/>'
        f"{_text(LEFT, 27, said, inside)}"
    )


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    side = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:g}" class="{kind}"{side}>{escape(text)}</text>'
