"""Measure what a checkpoint costs, compared with the article's way and torch.distributed.checkpoint.

Exits with 0 when everything was measured, whichever target holds, and with 1 when a measurement failed.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import figures, loopback, report
from benchmarks.measure import Effort, MeasurementFailed, Say, measure, wire_s
from benchmarks.report import Result
from benchmarks.ways import Name

SEED = 0
FULL_MB = [300, 1500]
QUICK_MB = [40]
FULL_WAYS = [Name.ARTICLE, Name.DCP_THREAD, Name.DCP_STREAMS, Name.OURS]
QUICK_WAYS = [Name.ARTICLE, Name.DCP_THREAD, Name.OURS]


def main() -> int:
    flags = _flags()
    rng = random.Random(SEED)
    around = report.surroundings()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    results = []
    try:
        for megabytes in flags.sizes or (QUICK_MB if flags.quick else FULL_MB):
            say(f"{megabytes} MB")
            results.append(_measure(round(megabytes * 1e6), flags.quick, flags.ways, rng, say))
    except (MeasurementFailed, TimeoutError, subprocess.TimeoutExpired, OSError, RuntimeError) as error:
        print(f"a measurement failed: {error}", *getattr(error, "__notes__", []), sep="\n", file=sys.stderr)
        return 1
    report.show(results, around)
    if flags.json:
        report.save(flags.json, results, around)
    return 0


def _measure(size: int, quick: bool, ways: list[Name], rng: random.Random, say: Say) -> Result:
    measured = []
    for way in ways:
        with loopback.serve() as server:  # a fresh one each, so that none has another's objects to keep
            measured.append(measure(way, size, _effort(way, size, quick), server, rng, say))
            if way is Name.OURS:
                wire = wire_s(server, size, 3)
    by_way = {it.way: it for it in measured}
    computed = {way: figures.figures(it) for way, it in by_way.items()}
    limit = figures.floor(by_way[Name.OURS], wire)
    return Result(
        measured=measured,
        figures=list(computed.values()),
        floor=limit,
        targets=figures.targets(computed[Name.OURS], computed[Name.ARTICLE], limit),
    )


def _effort(way: Name, size: int, quick: bool) -> Effort:
    """Return many repetitions for quick measurements, few for long ones."""
    if quick:
        return Effort(saves=2, cycles=1, stops=1)
    if way is Name.OURS:
        return Effort(saves=7, cycles=5, stops=3)
    return Effort(saves=1, cycles=1, stops=1) if size > 1e9 else Effort(saves=2, cycles=2, stops=1)


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=float, nargs="+", metavar="MB", help="state sizes (default: 300 1500)")
    parser.add_argument("--quick", action="store_true", help="one small size, few repeats: does the benchmark work?")
    parser.add_argument("--ways", type=Name, nargs="+", choices=list(Name), metavar="WAY", help=", ".join(Name))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to FILE")
    flags = parser.parse_args()
    flags.ways = flags.ways or (QUICK_WAYS if flags.quick else FULL_WAYS)
    if missing := {Name.ARTICLE, Name.OURS} - set(flags.ways):
        parser.error(f"--ways needs {' and '.join(sorted(missing))}: all else is measured against them")
    return flags


if __name__ == "__main__":
    sys.exit(main())
