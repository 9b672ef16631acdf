"""`spot`: the command line. Nothing heavy is imported before a verb is chosen."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from spot.core.errors import SpotError

CHATTY = frozenset({"bucket", "google", "requests", "urllib3"})
"""They log each try that failed; what comes of it is told anyway."""
GO_ON = frozenset({"submit", "reconcile", "watch", "cancel"})
"""Verbs that leave something in the cloud behind."""
INTERRUPTED, UNHEARD = 128 + signal.SIGINT, 128 + signal.SIGPIPE
DESCRIPTION = "Retraining on Spot VMs: submit a run and come back, or let a schedule bring it to its end."
EPILOG = "Exit codes: 0 done, 1 the run failed, 2 somebody must change something, 75 still open (or no answer: again)."


class _Help(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=16)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SpotError(f"{message} ({self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Whatever goes wrong is one line on standard error, or one line for each mistake."""
    _log_to_stderr()
    goes_on = False
    try:
        options = _parser().parse_args(arguments)
        goes_on = options.goes_on
        verb: Callable[[argparse.Namespace], int] = options.verb
        code = int(verb(options))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        goes = "; what has begun goes on, and the next pass takes it from there" if goes_on else ""
        return _say([f"interrupted{goes}"], INTERRUPTED)
    except BrokenPipeError:  # whoever read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNHEARD
    except SpotError as error:
        return _say(error.lines, error.exit_code)


def entry() -> None:
    sys.exit(main())


def _log_to_stderr() -> None:
    formatter = logging.Formatter("%(asctime)s %(message)s", "%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(lambda record: record.levelno >= logging.ERROR or record.name.split(".")[0] not in CHATTY)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _say(lines: Sequence[str], code: int) -> int:
    for line in lines:
        print(f"spot: {line}", file=sys.stderr)
    return code


def _verb(name: str, module: str) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        result: int = getattr(import_module(module), name)(options)
        return result

    return run


def _parser() -> _Parser:
    parser = _Parser(prog="spot", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False, formatter_class=_Help)
    verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=_Parser)

    submit = _add(verbs, "submit", "begin a run and return; flags of the trainer follow after --")
    submit.add_argument("--image", help="the trainer's container; a tag is resolved to its digest [cloud.image]")
    submit.add_argument("--deadline-hours", type=_number(8760), metavar="H", help="from now [policy.deadline_hours]")
    submit.add_argument("--work-hours", type=_number(8760), metavar="H", help="of training [policy.work_hours]")
    submit.add_argument("--strategy", choices=["hybrid", "spot", "on-demand"], help="[policy.strategy]")
    submit.add_argument("--regions", metavar="R,R", help="the cheapest is asked first [cloud.regions]")
    submit.add_argument(
        "--budget-usd", type=_number(1_000_000), metavar="USD", help="the most it may cost [policy.budget_usd]"
    )
    submit.add_argument("--run", metavar="ID", help="its id; without it, one that begins with the day")
    submit.add_argument("--force", action="store_true", help="in spite of doubts: deadline, budget, saves")
    submit.add_argument("--dry-run", action="store_true", help="print the plan and the exact request, and do nothing")
    submit.add_argument("trainer", nargs="*", metavar="-- FLAG", help="flags of the trainer, over those of [training]")

    reconcile = _add(verbs, "reconcile", "take every open run, or one, as far as it goes now")
    reconcile.add_argument("run", nargs="?", metavar="RUN")

    watch = _add(verbs, "watch", "reconcile again and again until the runs have ended, and show them")
    watch.add_argument("run", nargs="?", metavar="RUN", help="without it, every open run")
    watch.add_argument("--every", type=_number(86_400), default=60.0, metavar="S", help="seconds between passes (60)")

    status = _add(verbs, "status", "show the open runs, or one with its attempts and decisions; changes nothing")
    status.add_argument("run", nargs="?", metavar="RUN")

    cancel = _add(verbs, "cancel", "end a run; its checkpoints stay")
    cancel.add_argument("run", metavar="RUN")

    logs = _add(verbs, "logs", "where the trainer's log is, and the command that follows it")
    logs.add_argument("run", metavar="RUN")
    logs.add_argument("--attempt", metavar="ID", help="without it, the newest that has a job")

    report = _add(verbs, "report", "what a run has cost, and where the time went; or many of them", "spot.cli.report")
    report.add_argument("run", nargs="?", metavar="RUN")
    report.add_argument("--since", metavar="WHEN", help="closed runs submitted since then: 90d, 12h, 2026-09-01")
    report.add_argument("--html", type=Path, metavar="FILE", help="write it as a page of its own")
    report.add_argument("--markdown", action="store_true", help="as GitHub shows it, with diagrams")

    prices = _add(verbs, "prices", "what an hour costs on Vertex AI, the fee included", "spot.cli.price_verbs")
    prices.add_argument("--all", action="store_true", help="every region with a price, not those of the settings")
    prices.add_argument("--refresh", action="store_true", help="ask Google's catalogue first, and write prices.csv")

    estimate = _add(
        verbs, "estimate", "what a run will cost in each region, on demand and on spot", "spot.cli.price_verbs"
    )
    estimate.add_argument("--regions", metavar="R,R", help="[cloud.regions]")
    estimate.add_argument("--work-hours", type=_number(8760), metavar="H", help="of training [policy.work_hours]")
    estimate.add_argument("--mtbf-hours", type=_number(8760), metavar="H", help="between two preemptions (3.2)")

    forecast = _add(
        verbs, "forecast", "replay a run: its cost, its end, how likely it is late", "spot.cli.forecast_verb"
    )
    forecast.add_argument("--work-hours", type=_number(8760), metavar="H", help="of training [policy.work_hours]")
    forecast.add_argument("--deadline-hours", type=_number(8760), metavar="H", help="[policy.deadline_hours]")
    forecast.add_argument("--strategy", choices=["hybrid", "spot", "on-demand"], help="[policy.strategy]")
    forecast.add_argument("--regions", metavar="R,R", help="the cheapest is asked first [cloud.regions]")
    forecast.add_argument("--trace", type=Path, metavar="CSV", help="capacity; without it, what was measured for H100s")
    forecast.add_argument(
        "--mtbf-hours", type=_number(8760), metavar="H", help="or generated: mean time to a preemption"
    )
    forecast.add_argument("--outage-minutes", type=_number(525_600), metavar="M", help="and mean time without capacity")
    forecast.add_argument("--replays", type=_whole(100_000), metavar="N", help="(1000; of each case of a sweep 300)")
    forecast.add_argument(
        "--seed", type=_whole(2**32, least=0), default=0, metavar="N", help="of all that is random (0)"
    )
    forecast.add_argument("--sweep", choices=["deadline", "regions"], help="what patience buys, or another region")
    forecast.add_argument("--svg", type=Path, metavar="FILE", help="write the picture there")

    _add(verbs, "doctor", "check beforehand what would fail later; every failing line says the fix")

    rehearse = verbs.add_parser(
        "rehearse", help="play a whole run on this machine, no account needed", add_help=False, prefix_chars="\0"
    )
    rehearse.add_argument("rest", nargs="*")
    rehearse.set_defaults(verb=_rehearse, goes_on=False)
    return parser


def _add(verbs: argparse._SubParsersAction[_Parser], name: str, text: str, module: str = "spot.cli.verbs") -> _Parser:
    parser: _Parser = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.add_argument("--settings", type=Path, default=Path("spot.toml"), metavar="FILE", help="(spot.toml)")
    parser.add_argument("--json", action="store_true", help="JSON on standard output; watch: a line for each pass")
    parser.set_defaults(verb=_verb(name, module), goes_on=name in GO_ON)
    return parser


def _rehearse(options: argparse.Namespace) -> int:
    """The rehearsal may import us, and not the other way round."""
    os.execv(sys.executable, [sys.executable, "-m", "spot.demo", *options.rest])


def _number(most: float) -> Callable[[str], float]:
    """Within the bounds of the settings."""

    def number(text: str) -> float:
        with contextlib.suppress(ValueError):
            if 0.01 <= (value := float(text)) <= most:
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0.01 to {most:g}")

    return number


def _whole(most: int, *, least: int = 1) -> Callable[[str], int]:
    def whole(text: str) -> int:
        with contextlib.suppress(ValueError):
            if text.isascii() and least <= (value := int(text)) <= most:
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")

    return whole


if __name__ == "__main__":
    entry()
