"""`spot rehearse`: a whole run on this machine, everything that can happen to it, and proof that it did not matter."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from spot.cli import values
from spot.core.errors import Exit, SpotError
from spot.demo.environment import Play, set_up
from spot.demo.runner import Finished, perform
from spot.demo.view import WIDTH, Timeline, ending


def main(arguments: list[str] | None = None) -> int:
    """0 if the run made its deadline and its model is the uninterrupted one's, 1 if not, 2 for bad arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.data and options.container:
        parser.error("--data and --container do not go together: the container would not see the file")
    play = Play(
        epochs=options.epochs,
        seed=options.seed,
        data=options.data,
        trace=options.trace,
        container=options.container,
        engine=options.engine,
    )
    console = Console(highlight=False, stderr=options.json)
    if not console.is_terminal:
        console.width = WIDTH
    try:
        with Timeline(console) as timeline, set_up(play, timeline.tell) as stage:
            finished = perform(stage, timeline.show)
    except (SpotError, OSError) as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, SpotError) else Exit.FAILED
    console.print(ending(finished))
    if options.json:
        json.dump(_values(finished), sys.stdout, indent=1)
        print()
    return 0 if _went_well(finished) else 1


def _went_well(finished: Finished) -> bool:
    frame, comparison = finished.frame, finished.comparison
    at = frame.seen.completed_at
    return comparison is not None and comparison.identical and at is not None and at <= frame.run.spec.deadline


def _values(finished: Finished) -> dict[str, object]:
    comparison = finished.comparison
    return {
        "run": values.run(finished.frame.run, finished.frame.seen, finished.frame.now),
        "reached": dict(finished.frame.reached),
        "identical": comparison is not None and comparison.identical,
        "score": comparison and {comparison.score_name: comparison.score},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spot rehearse", description=__doc__, allow_abbrev=False)
    parser.add_argument("--epochs", type=_whole(1), default=60, metavar="N", help="passes over the data (60)")
    parser.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="of the training (0)")
    parser.add_argument("--data", type=_file, metavar="FILE", help="train on this local file (the bundled digits)")
    parser.add_argument("--trace", type=Path, metavar="CSV", help="play measured capacity instead of the story")
    parser.add_argument("--container", metavar="IMAGE", help="run this image in the place of this folder's trainer")
    parser.add_argument("--engine", choices=["podman", "docker"], default="podman", help="what runs it (podman)")
    parser.add_argument("--json", action="store_true", help="the end as one JSON document on standard output")
    return parser


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no file here: gs:// is an emulator in a rehearsal, copy it first"
        )
    return Path(text).resolve()


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return parse


if __name__ == "__main__":
    sys.exit(main())
