"""Parse the command line of `spot`. `spot --help` imports as little as it can."""

import argparse
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from spot.core.errors import SpotError
from spot.core.fields import shown, terminal

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

QUIET = ("google", "requests", "spot.storage", "urllib3")
"""Loggers of single retries; the final error is reported anyway."""
CHANGING = frozenset({"submit", "resume", "reconcile", "watch", "cancel"})
"""Verbs after which jobs may be running."""
INTERRUPTED, BROKEN_PIPE = 128 + signal.SIGINT, 128 + signal.SIGPIPE
DESCRIPTION = "Retrain on Spot VMs of Vertex AI: submit a run, and let the supervisor finish it before its deadline."
EPILOG = "Exit codes: 0 done, 1 the run failed, 2 usage, settings or permission, 75 still open or no answer."


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SpotError(message, fix=f"{self.prog} --help")

    def parse_known_args(self, *given: Any, **named: Any) -> Any:
        options, unknown = super().parse_known_args(*given, **named)
        if unknown:  # reported by the parser of the verb, whose help is the right one
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. Report a known error in one line, or one line per mistake."""
    changes = False
    try:
        options = _parser().parse_args(arguments)
        _log_to_stderr()
        changes = options.name in CHANGING
        code = int(getattr(import_module(options.module), options.name.replace("-", "_"))(options))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _fail(["interrupted" + ("; running jobs continue, the next reconcile picks them up" if changes else "")])
    except BrokenPipeError:  # the reader of standard output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except SpotError as error:
        return _fail(error.lines, error.exit_code)
    return code


def entry() -> None:
    sys.exit(main())


def _log_to_stderr() -> None:
    import logging

    class Formatter(logging.Formatter):
        converter = staticmethod(time.gmtime)

        def format(self, record: logging.LogRecord) -> str:
            return terminal(super().format(record))

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("%(asctime)s %(message)s", "%H:%M:%SZ"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)


def _fail(lines: Sequence[str], code: int = INTERRUPTED) -> int:
    for line in lines:
        print(f"spot: {terminal(line)}", file=sys.stderr)
    return code


def _parser() -> Parser:
    def helped(prog: str) -> argparse.HelpFormatter:
        return argparse.HelpFormatter(prog, max_help_position=16)

    parser = Parser(prog="spot", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False, formatter_class=helped)
    verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=Parser)

    add = _verb(verbs, "runs", "submit", "submit a run and return; flags of the trainer follow --")
    _shared(add, "--work-hours")
    _submitting(add)
    add("arguments", nargs="*", metavar="-- FLAG", help="override flags of [training]")

    add = _verb(verbs, "runs", "resume", "continue a failed run from its checkpoints, as a new run")
    add("parent", metavar="RUN", help="choose the failed or cancelled run")
    _submitting(add)

    _verb(verbs, "runs", "reconcile", "advance every open run, or one; idempotent", run="?")

    add = _verb(verbs, "runs", "watch", "reconcile until the runs have ended, and show them", run="?")
    seconds = _within(float, 0.01, 86_400)
    add("--every", type=seconds, default=60.0, metavar="S", help="seconds between two reconciles (60)")

    _verb(verbs, "runs", "status", "show the open runs, or one with attempts and decisions", run="?")

    _verb(verbs, "runs", "cancel", "end a run; its checkpoints stay", run="1")

    add = _verb(verbs, "runs", "logs", "print links to the log of an attempt", run="1")
    add("--attempt", metavar="ID", help="choose the attempt (the newest with a job)")

    add = _verb(verbs, "runs", "export", "write a checkpoint of a run as a folder of safetensors files", run="1")
    add("folder", type=_path, metavar="DIR", help="write to this new folder")
    add("--step", type=int, metavar="N", help="choose the checkpoint (the newest)")

    add = _verb(verbs, "models", "models", "list trained models with score, verdict and cost")
    add("--since", type=_days, default="90d", metavar="DAYS", help="list runs submitted in the last days (90d)")

    _verb(verbs, "models", "champion", "show the model in use and its history")

    add = _verb(verbs, "models", "promote", "put the model of a run in use", run="1")
    add("--reason", required=True, metavar="TEXT", help="record why")

    add = _verb(verbs, "models", "rollback", "put an earlier model back in use")
    add("--to", metavar="RUN", help="choose the run (the champion before)")
    add("--reason", required=True, metavar="TEXT", help="record why")

    add = _verb(verbs, "report", "report", "report cost and time of a run, or of many")
    add("run", nargs="?", metavar="RUN", help="choose one run")
    add("--since", type=_days, metavar="DAYS", help="report runs submitted in the last days, such as 90d")
    add("--html", type=_path, metavar="FILE", help="write the report as one page")
    add("--markdown", action="store_true", help="print Markdown for GitHub, with diagrams")

    add = _verb(verbs, "money", "prices", "show hourly prices on Vertex AI, fee included")
    add("--refresh", action="store_true", help="fetch Google's price catalogue into prices.csv first")

    add = _verb(verbs, "money", "estimate", "estimate the cost of a run in each region")
    _shared(add, "--work-hours", "--regions")
    hours, minutes = _within(float, 0.01, 8760), _within(float, 0.01, 525_600)
    add("--mtbf-hours", type=hours, metavar="H", help="assume a preemption every H hours (3.2)")

    add = _verb(verbs, "forecast", "forecast", "forecast cost, end and risk of missing the deadline")
    _shared(add, "--work-hours", "--deadline-hours", "--strategy", "--regions")
    add("--trace", type=_path, metavar="CSV", help="replay this capacity (measured for H100s)")
    add("--mtbf-hours", type=hours, metavar="H", help="generate capacity: a preemption every H hours")
    add("--outage-minutes", type=minutes, metavar="M", help="with outages of M minutes; needs --mtbf-hours")
    add("--replays", type=_within(int, 1, 100_000), metavar="N", help="replay N times (1000; 300 per case of a sweep)")
    add("--seed", type=_within(int, 0, 2**32), default=0, metavar="N", help="seed the random draws (0)")
    add("--sweep", choices=["deadline", "regions"], help="compare deadlines or regions")
    add("--svg", type=_path, metavar="FILE", help="write a picture of the forecast to FILE")

    _verb(verbs, "checks", "data", "show and check the data of a submit now")

    _verb(verbs, "checks", "doctor", "check credentials, quota and configuration; print fixes")

    add = _verb(verbs, "checks", "verify-live", "check the assumptions on the real services, under $1")
    add("--yes", action="store_true", help="start the jobs (print plan and price)")
    add("--image", help="use this image; a tag is pinned to its digest [cloud.image]")

    rehearse = verbs.add_parser(
        "rehearse", help="run a whole retraining on this machine, no account needed", add_help=False, prefix_chars="\0"
    )
    rehearse.add_argument("rest", nargs="*")
    rehearse.set_defaults(module=__name__, name="rehearse")
    return parser


def _verb(verbs: Any, module: str, name: str, text: str, run: str = "") -> Callable[..., Any]:
    """Add a verb. `run` is "1" if it takes a run, and "?" if it takes one or every open run."""
    parser = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
    if run == "1":
        parser.add_argument("run", metavar="RUN", help="choose the run")
    elif run:
        parser.add_argument("run", nargs="?", metavar="RUN", help="choose one run (every open run)")
    parser.add_argument(
        "--settings", type=_path, default="spot.toml", metavar="FILE", help="read the settings from FILE (spot.toml)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(module=f"spot.cli.{module}", name=name)
    add: Callable[..., Any] = parser.add_argument
    return add


def _submitting(add: Callable[..., Any]) -> None:
    _shared(add, "--deadline-hours", "--strategy", "--regions")
    add("--image", help="use this image; a tag is pinned to its digest [cloud.image]")
    add("--budget-usd", type=float, metavar="USD", help="limit the cost of the run [policy.budget_usd]")
    add("--run", metavar="ID", help="set the run id (generated)")
    add("--force", action="store_true", help="override preflight checks")
    add("--dry-run", action="store_true", help="print the plan and the request, and do nothing")


def _shared(add: Callable[..., Any], *flags: str) -> None:
    """Add options that override settings, which check their values."""
    known: dict[str, dict[str, Any]] = {
        "--work-hours": {"type": float, "metavar": "H", "help": "set the hours of training [policy.work_hours]"},
        "--deadline-hours": {
            "type": float,
            "metavar": "H",
            "help": "set the hours to the deadline [policy.deadline_hours]",
        },
        "--strategy": {"choices": ["hybrid", "spot", "on-demand"], "help": "choose the provisioning [policy.strategy]"},
        "--regions": {"metavar": "R,R", "help": "choose the regions [cloud.regions]"},
    }
    for flag in flags:
        add(flag, **known[flag])


def rehearse(options: argparse.Namespace) -> NoReturn:
    """Replace this process by the demo, which may import the command line and not the reverse."""
    os.execv(sys.executable, [sys.executable, "-m", "spot.demo", *options.rest])


def _path(text: str) -> "Path":
    from pathlib import Path

    return Path(text)


def _days(text: str) -> "timedelta":
    from datetime import timedelta

    if not re.fullmatch(r"[1-9][0-9]{0,3}d", text):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number of days from 1d to 9999d")
    return timedelta(days=int(text[:-1]))


def _within(kind: type[float], least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        with contextlib.suppress(ValueError):
            if least <= (value := kind(text)) <= most:
                return value
        whole = "whole " if kind is int else ""
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a {whole}number from {least:g} to {most:.10g}")

    return parse


if __name__ == "__main__":
    entry()
