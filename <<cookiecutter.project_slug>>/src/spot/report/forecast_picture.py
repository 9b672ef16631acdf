"""The picture of a forecast for a terminal: what each would cost and when it would be done, in blocks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from spot.report.histogram import Scale, axis, blocks, scale
from spot.simulation.forecast import Baseline, Forecast, Samples, quantile

LABEL = 20
"""Columns of the names on the left."""
HEIGHT = 2
"""Lines of a histogram."""
_STYLES = {Baseline.OURS: "green", Baseline.ON_DEMAND: "blue", Baseline.ARTICLE: "yellow"}


def usd_scale(forecasts: Sequence[Forecast]) -> Scale:
    """For all that any of them costs in any of these cases; it begins at 0."""
    return scale(0.0, max(one.of(rival).usd[-1] for one in forecasts for rival in Baseline))


def hours_scale(found: Forecast) -> Scale:
    """For all finishes and the deadline."""
    ends = [found.case.deadline_hours]
    for rival in Baseline:
        ends += found.of(rival).hours
    return scale(min(ends), max(ends))


def picture(found: Forecast, width: int) -> list[Text]:
    """Lines of at most so many columns."""
    columns = width - LABEL
    usd, hours = usd_scale([found]), hours_scale(found)
    deadline = hours.bin(found.case.deadline_hours, columns)
    lines = [Text("what it costs", style="bold")]
    for rival in Baseline:
        lines += _lane(rival, usd.counts(found.of(rival).usd, columns))
    lines += [_axis(usd, columns, "$"), Text(), Text("hours from submit to the model; │ is the deadline", style="bold")]
    for rival in Baseline:
        lines += _lane(rival, hours.counts(found.of(rival).hours, columns), deadline)
    return [*lines, _axis(hours, columns, "")]


def _lane(rival: Baseline, counts: Sequence[int], mark: int | None = None) -> list[Text]:
    lines = []
    for row, line in enumerate(blocks(counts, HEIGHT)):
        label = rival if row == HEIGHT - 1 else ""
        text = Text(f"{label:<{LABEL}}").append(line, style=_STYLES[rival])
        if mark is not None and line[mark] == " ":
            at = LABEL + mark
            text = text[:at].append("│", style="bold red").append_text(text[at + 1 :])
        text.rstrip()
        lines.append(text)
    return lines


def _axis(of: Scale, columns: int, unit: str) -> Text:
    return Text(" " * LABEL + axis(of, columns, unit), style="dim")


def bar(share: float, width: int) -> str:
    """Full at 1; longer ones are cut."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def spread(samples: Samples) -> tuple[float, float]:
    """Between these, half of the costs lie."""
    return quantile(samples.usd, 0.25) or 0.0, quantile(samples.usd, 0.75) or 0.0
