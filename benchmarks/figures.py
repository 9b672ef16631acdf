"""Compute the reported figures from measurements, and check each target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks.measure import Measured
from benchmarks.ways import Name
from spot.trainer.checkpoint.interval import PRIOR_S, SHORTEST_S, automatic_interval_s

PROMISED_FROM = 200e6
"""The least bytes of state for targets; below, requests and the interpreter dominate."""
COPIES_AT_MOST = 1.05
"""One, and what sending it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Hold the figures of one way at one size; None if not measured."""

    way: Name
    size: int
    first_stall_s: float | None
    stall_s: float
    sigterm_s: float
    sigterm_in_flight_s: float
    lost_s: float | None
    """Training time lost during one upload, without the stall."""
    helper_cpu_s: float | None
    """CPU time of the uploader per save."""
    interval_s: float
    """The interval that `auto` chooses for this stall."""
    extra_bytes: int
    """Peak memory during a save minus memory before the first save (memory.py)."""
    extra_but_programs_bytes: int
    """The same without the memory of the helpers before the first save."""

    @property
    def slowdown(self) -> float | None:
        """Return the lost share of time at the shortest automatic interval."""
        return None if self.lost_s is None else self.lost_s / SHORTEST_S

    @property
    def slowdown_auto(self) -> float | None:
        return None if self.lost_s is None else self.lost_s / self.interval_s

    @property
    def extra(self) -> float:
        return self.extra_bytes / self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Hold the lower bounds measured in the same run."""

    memcpy_s: float
    torch_copy_s: float
    wire_s: float
    """Seconds to send the bytes over eight connections, then one small object, without any training."""
    size: int

    @property
    def sigterm_s(self) -> float:
        return self.memcpy_s + self.wire_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Hold one target and the measured value."""

    text: str
    measured: str
    holds: bool


def figures(measured: Measured) -> Figures:
    """Return the medians."""
    cycles = measured.cycles
    stall_s = median(measured.stalls_s)
    durable_s = median(it.durable_s for it in measured.stopped)
    extra = measured.peak_bytes - measured.baseline_bytes
    return Figures(
        way=measured.way,
        size=measured.size,
        first_stall_s=measured.first_stall_s,
        stall_s=stall_s,
        sigterm_s=durable_s,
        sigterm_in_flight_s=median(it.durable_s for it in measured.stopped_in_flight),
        lost_s=median(it.lost_s for it in cycles) if cycles else None,
        helper_cpu_s=median(it.helper_cpu_s for it in cycles) if cycles and measured.helper_bytes else None,
        interval_s=automatic_interval_s(cost_s=stall_s, durable_s=durable_s, mean_time_between_preemptions_s=PRIOR_S),
        extra_bytes=extra,
        extra_but_programs_bytes=extra - measured.helper_bytes,
    )


def floor(ours: Measured, wire: list[float]) -> Floor:
    return Floor(
        memcpy_s=median(ours.memcpy_s), torch_copy_s=median(ours.torch_copy_s), wire_s=median(wire), size=ours.size
    )


def targets(ours: Figures, article: Figures, limit: Floor) -> list[Target]:
    """Return the targets of docs/benchmarks.md at one size."""
    if ours.size < PROMISED_FROM:
        return []
    factor = 10 if ours.size >= 1e9 else 8
    stall, versus = ours.stall_s / limit.memcpy_s, article.stall_s / ours.stall_s
    sigterm = article.sigterm_s / ours.sigterm_s
    in_flight = article.sigterm_in_flight_s / ours.sigterm_in_flight_s
    slowdown = ours.slowdown or 0.0
    copies = ours.extra_but_programs_bytes / ours.size
    return [
        _target("stall at most 1.2 x one memcpy", f"{stall:.2f} x", stall <= 1.2),
        _target("stall at least 100 x shorter than the article's", f"{versus:.0f} x", versus >= 100),
        _target(f"SIGTERM to durable at least {factor} x shorter", f"{sigterm:.1f} x", sigterm >= factor),
        _target(f"the same with a save in flight, {factor} x", f"{in_flight:.1f} x", in_flight >= factor),
        _target("training slowed by less than 1 % between saves", f"{slowdown:.2%}", slowdown < 0.01),
        _target(
            "memory at most one extra copy of the state",
            f"{copies:.3f} copies and {(ours.extra_bytes - ours.extra_but_programs_bytes) / 1e6:.0f} MB of uploader",
            copies <= COPIES_AT_MOST,
        ),
    ]


def _target(text: str, measured: str, holds: bool) -> Target:
    return Target(text=text, measured=measured, holds=holds)


Row = tuple[str, Callable[[Figures], str]]


def rows(article: Figures, limit: Floor) -> list[Row]:
    """Return the table's rows: a label, and how to format the value of a way."""
    return [
        ("stall, first save", lambda it: _seconds(it.first_stall_s)),
        ("stall, median", lambda it: _seconds(it.stall_s)),
        ("... to one memcpy", lambda it: f"{it.stall_s / limit.memcpy_s:.2f} x"),
        ("... shorter than the article's", lambda it: f"{article.stall_s / it.stall_s:.0f} x"),
        ("SIGTERM to durable", lambda it: _seconds(it.sigterm_s)),
        ("... to the physical limit", lambda it: f"{it.sigterm_s / limit.sigterm_s:.2f} x"),
        ("... shorter than the article's", lambda it: f"{article.sigterm_s / it.sigterm_s:.1f} x"),
        ("SIGTERM to durable, a save in flight", lambda it: _seconds(it.sigterm_in_flight_s)),
        (
            "... shorter than the article's",
            lambda it: f"{article.sigterm_in_flight_s / it.sigterm_in_flight_s:.1f} x",
        ),
        ("training lost per upload", lambda it: _seconds(it.lost_s)),
        (f"... of {SHORTEST_S:.0f} s", lambda it: _share(it.slowdown)),
        ("... of the auto interval", lambda it: _share(it.slowdown_auto, f" of {it.interval_s:.0f} s")),
        ("uploader's CPU time per save", lambda it: _seconds(it.helper_cpu_s)),
        ("extra memory at the peak", lambda it: f"{it.extra_bytes / 1e6:.0f} MB"),
        ("... to the state", lambda it: f"{it.extra:.2f} x"),
    ]


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{1e3 * value:.0f} ms" if abs(value) < 1 else f"{value:.2f} s"


def _share(value: float | None, of: str = "") -> str:
    return "-" if value is None else f"{value:.2%}{of}"
