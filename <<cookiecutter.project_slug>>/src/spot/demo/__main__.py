"""Rehearse a run with preemptions, missing capacity and a crash, and compare its model with the baseline's."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from spot.core.errors import Exit, SpotError
from spot.demo.environment import Options, set_up
from spot.demo.runner import Result, run_rehearsal
from spot.demo.view import WIDTH, Timeline, ending
from spot.storage.records import ledger


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if the run met its deadline with the baseline's model, 1 if not, 2 for invalid arguments."""
    given = _parser().parse_args(arguments)
    options = Options(epochs=given.epochs, seed=given.seed, data=given.data, trace=given.trace)
    console = Console(highlight=False, stderr=given.json)
    if not console.is_terminal:
        console.width = WIDTH
    try:
        with Timeline(console) as timeline, set_up(options, timeline.log) as environment:
            result = run_rehearsal(environment, timeline.show)
    except (SpotError, OSError) as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, SpotError) else Exit.FAILED
    console.print(ending(result))
    if given.json:
        json.dump(_values(result), sys.stdout, indent=1)
        print()
    return Exit.DONE if result.succeeded else Exit.FAILED


def _values(result: Result) -> dict[str, object]:
    comparison = result.comparison
    return {
        "run": json.loads(ledger.encode(result.snapshot.run)),
        "reached": dict(result.snapshot.reached),
        "identical": comparison is not None and comparison.identical,
        "score": comparison and {comparison.score_name: comparison.score},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spot rehearse", description=__doc__, allow_abbrev=False)
    parser.add_argument("--epochs", type=_whole(1), default=60, metavar="N", help="set the passes over the data (60)")
    parser.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="set the seed of the training (0)")
    parser.add_argument("--data", type=_file, metavar="FILE", help="train on a local file instead of the sample")
    parser.add_argument("--trace", type=Path, metavar="CSV", help="replay measured capacity instead of the scenario")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    return parser


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a local file: download gs:// objects first")
    return Path(text).resolve()


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return parse


if __name__ == "__main__":
    sys.exit(main())
