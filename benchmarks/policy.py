"""`python -m benchmarks.policy`: compare the cost of the policy with other policies and with the optimum.

Replays random windows of the shipped capacity trace; half of them were held back while the policy was tuned. Exits
with 1 if a promise of docs/policy.md does not hold.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path

from rich.progress import track

from benchmarks import policy_tables, policy_worlds
from benchmarks.policy_figures import promises, summed
from benchmarks.policy_replays import Cost, Job, Policy, replayed, trace
from benchmarks.policy_settings import DEADLINE, DURATIONS, MINUTE, REGIONS, SETTINGS, SLOW_SETTINGS
from benchmarks.policy_windows import draw

SEED = 0
FULL, QUICK = 300, 10
"""Windows."""
AT_ONCE = 8
"""Windows that a process takes at a time."""


def main() -> int:
    flags = _flags()
    began = time.monotonic()
    if flags.worlds:
        return _worlds(QUICK if flags.quick else policy_worlds.WINDOWS)
    asked = list(jobs(QUICK if flags.quick else FULL, SEED, dict(flags.set)))
    costs = list(itertools.chain.from_iterable(_progress(_replayed(asked), len(asked))))
    policy_tables.show(summed(costs))
    kept = promises(summed(costs), all_of_them=not flags.quick)
    policy_tables.show_promises(kept)
    print(f"{len(costs)} replays in {time.monotonic() - began:.0f} s, seed {SEED}")
    if flags.json:
        flags.json.write_text(json.dumps({"seed": SEED, "costs": [_plain(it) for it in costs]}))
    return 0 if all(it.holds for it in kept) else 1


def _worlds(count: int) -> int:
    """Show the tables of other worlds. Return 1 if a deadline was missed."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        shares = pool.map(policy_worlds.replayed, policy_worlds.shares(count, SEED))
        found = list(itertools.chain.from_iterable(shares))
    for title, rows in policy_worlds.tables(found):
        policy_tables.show_rows(title, rows)
    print(f"{len(found)} replays, {count} windows, seed {SEED}")
    return int(any(one.missed for one in found if one.policy is Policy.OURS))


def jobs(count: int, seed: int, otherwise: Mapping[str, timedelta]) -> Iterator[Job]:
    """Every setting on the same windows."""
    windows = draw(trace().known(REGIONS), length=DEADLINE, count=count, seed=seed)
    for setting, policies in [
        *((setting, tuple(Policy)) for setting in SETTINGS),
        *((setting, (Policy.ALONE, Policy.OURS)) for setting in SLOW_SETTINGS),
    ]:
        for window in windows:
            yield Job(setting=setting, window=window, seed=seed, policies=policies, otherwise=otherwise)


def _replayed(asked: Sequence[Job]) -> Iterator[list[Cost]]:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(replayed, asked, chunksize=AT_ONCE)


def _progress(costs: Iterator[list[Cost]], total: int) -> Iterator[list[Cost]]:
    if not sys.stdout.isatty():
        print(f"{total} windows to replay", flush=True)
        return costs
    return iter(track(costs, "replaying", total=total, transient=True))


def _plain(cost: Cost) -> dict[str, object]:
    setting, window = cost.job.setting, cost.job.window
    return {
        "regions": setting.regions,
        "gpus": setting.gpus,
        "worst_start_minutes": setting.worst_start // MINUTE,
        "window": window.start,
        "part": window.part,
        "policy": cost.policy,
        "work_hours": cost.work / 60,
        "cost": cost.ratio,
        "missed": cost.missed,
        "preemptions": cost.preemptions,
    }


def _term(words: str) -> tuple[str, timedelta]:
    name, _, minutes = words.partition("=")
    if name not in DURATIONS or not minutes.isdecimal() or not int(minutes):
        raise argparse.ArgumentTypeError(f"{words!r} is not one of {', '.join(DURATIONS)}, with = and minutes")
    return name, int(minutes) * MINUTE


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policy", description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", action="store_true", help="other prices, jobs, zones and settings")
    parser.add_argument("--quick", action="store_true", help="replay a few windows only")
    parser.add_argument(
        "--set",
        type=_term,
        action="append",
        default=[],
        metavar="TERM=MINUTES",
        help=f"change a setting of docs/policy.md: {', '.join(DURATIONS)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the cost of every replay to FILE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
