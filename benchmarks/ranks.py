"""Measure checkpoints of 2 and 4 ranks, beside torch.distributed.checkpoint and a single rank.

Only ratios mean something: all ranks and the server share the cores of this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from statistics import median

from benchmarks import loopback, report
from benchmarks.figures import Target
from benchmarks.measure import INTO_A_SAVE_S, LEAVE_S, STDERR_KEPT, MeasurementFailed
from benchmarks.ranks_trainee import DCP, OURS, RankPlan, arguments

FULL_MB, QUICK_MB = 500, 40
SAVES, STOPS = 5, 3
STALL, DURABLE = 0.5, 0.8
"""Targets: the most of what torch.distributed.checkpoint takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RanksMeasured:
    """Hold the medians of one way on some ranks, in seconds."""

    way: str
    kind: str
    world: int
    first_durable_s: float
    stall_s: float
    durable_s: float
    sigterm_s: float | None
    """From SIGTERM at one rank until the checkpoint of all ranks is durable."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small state, 2 ranks, few repeats: does it work?")
    parser.add_argument("--megabytes", type=float, help=f"size of the state (default: {FULL_MB})")
    flags = parser.parse_args()
    size = round(1e6 * (flags.megabytes or (QUICK_MB if flags.quick else FULL_MB)))
    worlds, saves, stops = ((2,), 2, 1) if flags.quick else ((2, 4), SAVES, STOPS)
    print(", ".join(f"{name} {value}" for name, value in report.surroundings().items()))
    print(f"load {os.getloadavg()[0]:.1f} at the start, {size / 1e6:.0f} MB of state", flush=True)
    many = [(way, kind, world) for world in worlds for kind in ("ddp", "fsdp") for way in (OURS, DCP)]
    chance, found = random.Random(0), []
    try:
        for way, kind, world in [(OURS, "none", 1), *many]:
            found.append(_measure(RankPlan(way=way, kind=kind, size=size, saves=saves), world, stops, chance))
            print(f"measured {way}, {kind} on {world} ranks, load {os.getloadavg()[0]:.1f}", flush=True)
    except (MeasurementFailed, OSError, subprocess.TimeoutExpired) as error:
        print(f"a measurement failed: {error}", *getattr(error, "__notes__", []), sep="\n", file=sys.stderr)
        return 1
    print("\n".join(table(found)))
    for target in targets(found):
        print(f"{'ok    ' if target.holds else 'MISSED'}  {target.text}: {target.measured}")
    return 0


def table(found: list[RanksMeasured]) -> list[str]:
    """Return a table with multiples of the single rank, in Markdown."""
    single = found[0]
    lines = [
        "| way | ranks | stall | time to durable | first save durable | SIGTERM at one rank to all durable |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in found:
        sigterm = f"{one.sigterm_s / single.sigterm_s:.2f} x" if one.sigterm_s and single.sigterm_s else "-"
        lines.append(
            f"| {one.way}, {one.kind} | {one.world} | {one.stall_s / single.stall_s:.2f} x"
            f" | {one.durable_s / single.durable_s:.2f} x | {one.first_durable_s / single.first_durable_s:.2f} x"
            f" | {sigterm} |"
        )
    return lines


def targets(found: list[RanksMeasured]) -> list[Target]:
    """Compare both ways on equal ranks."""
    by = {(one.way, one.kind, one.world): one for one in found}
    checked = []
    for (way, kind, world), ours in by.items():
        if way == OURS and (dcp := by.get((DCP, kind, world))):
            stall, durable = ours.stall_s / dcp.stall_s, ours.durable_s / dcp.durable_s
            where = f"of DCP's, {kind} on {world} ranks"
            checked += [
                Target(text=f"stall at most {STALL} {where}", measured=f"{stall:.2f}", holds=stall <= STALL),
                Target(
                    text=f"durable in at most {DURABLE} {where}", measured=f"{durable:.2f}", holds=durable <= DURABLE
                ),
            ]
    return checked


def _measure(plan: RankPlan, world: int, stops: int, chance: random.Random) -> RanksMeasured:
    firsts, stalls, durables, sigterms = [], [], [], []
    for _ in range(stops if plan.way == OURS else 1):
        with loopback.serve() as server:
            saves, sigterm_s = _run(plan, world, server, chance)
        firsts.append(saves[0]["durable_s"])
        stalls += [save["stall_s"] for save in saves[1:]]
        durables += [save["durable_s"] for save in saves[1:]]
        sigterms += [sigterm_s] if sigterm_s is not None else []
    return RanksMeasured(
        way=plan.way,
        kind=plan.kind,
        world=world,
        first_durable_s=median(firsts),
        stall_s=median(stalls),
        durable_s=median(durables),
        sigterm_s=median(sigterms) if sigterms else None,
    )


def _run(
    plan: RankPlan, world: int, server: loopback.Loopback, chance: random.Random
) -> tuple[list[dict[str, float]], float | None]:
    """Return the saves of all ranks, and the time from SIGTERM at one rank to a durable checkpoint."""
    ranks: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryFile("w+") as errors:
        try:
            for env in _environments(world):
                environment = {**server.environment(), "OMP_NUM_THREADS": "1", **env}
                ranks.append(
                    subprocess.Popen(arguments(plan), stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
                )
            saves = []
            assert ranks[0].stdout
            for line in ranks[0].stdout:
                event = json.loads(line) if line.startswith("{") else {}
                if event.pop("event", None) == "kill-me":
                    break
                saves += [event] if event else []
            if len(saves) != plan.saves + 1:
                raise MeasurementFailed(f"{plan.way}, {plan.kind} on {world} ranks ended after {len(saves)} saves")
            if plan.way != OURS:
                return saves, None
            time.sleep(chance.uniform(INTO_A_SAVE_S, 2 * INTO_A_SAVE_S))
            killed = time.monotonic()
            chance.choice(ranks).send_signal(signal.SIGTERM)
            codes = [rank.wait(LEAVE_S) for rank in ranks]
            durable = [it.time for it in server.acknowledged() if "/manifests/" in it.name and it.time > killed]
            if set(codes) != {143} or not durable:
                raise MeasurementFailed(f"exit codes {codes}, {len(durable)} checkpoints after SIGTERM")
            return saves, durable[-1] - killed
        except Exception as error:
            errors.seek(0)
            error.add_note(errors.read()[-STDERR_KEPT:])
            raise
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()


def _environments(world: int) -> list[dict[str, str]]:
    if world == 1:
        return [{}]
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return [
        dict(zip(names, map(str, (rank, rank, world, world, "127.0.0.1", port)), strict=True)) for rank in range(world)
    ]


if __name__ == "__main__":
    sys.exit(main())
