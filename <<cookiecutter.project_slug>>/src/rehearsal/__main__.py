"""`python -m rehearsal`: a training that is interrupted again and again, and the proof that it made no difference."""

from __future__ import annotations

import argparse
import signal
import sys

from rich import box
from rich.console import Console
from rich.table import Table

from rehearsal.interruptions import Life, Outcome, Play, RehearsalError, rehearse


def main() -> int:
    """0 if both runs ended with the same model."""
    parser = argparse.ArgumentParser(prog="rehearsal", description=__doc__)
    parser.add_argument("--interruptions", type=int, default=6, help="how many (default 6)")
    parser.add_argument("--seed", type=int, default=0, help="of the training and of the moments (default 0)")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    lives: list[Life] = []

    def tell(line: str) -> None:
        console.print(line)
        spinner.update(line)

    def note(life: Life) -> None:
        lives.append(life)
        console.print(f"  {_describe(life)}")

    play = Play(interruptions=max(arguments.interruptions, 0), seed=max(arguments.seed, 0))
    try:
        with console.status("starting the Cloud Storage emulator") as spinner:
            outcome = rehearse(play, tell, note)
    except RehearsalError as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 1
    console.print(_table(lives))
    console.print(_verdict(outcome, lives))
    return 0 if outcome.identical else 1


def _describe(life: Life) -> str:
    where = f"at step {life.step}" if life.ready_s is not None else "in start-up"
    if life.signal is None:
        return f"completed {where}"
    return f"{life.signal.name} {where}: exit {life.exit_code}, goes on from step {life.durable_step}"


def _table(lives: list[Life]) -> Table:
    table = Table(box=box.SIMPLE, title="The interrupted run, start by start", title_justify="left")
    for name in ("start", "from step", "ready in", "ended by", "at step", "exit", "durable", "lost"):
        table.add_column(name, justify="left" if name == "ended by" else "right")
    for index, life in enumerate(lives, 1):
        table.add_row(
            str(index),
            str(life.first_step) if life.ready_s is not None else "-",
            f"{life.ready_s:.1f} s" if life.ready_s is not None else "-",
            life.signal.name if life.signal else "itself",
            str(life.step) if life.ready_s is not None else "start-up",
            str(128 + signal.SIGKILL if life.exit_code == -signal.SIGKILL else life.exit_code),
            str(life.durable_step),
            str(life.lost_steps) if life.signal else "",
        )
    return table


def _verdict(outcome: Outcome, lives: list[Life]) -> str:
    lost = sum(life.lost_steps for life in lives)
    same = {True: "identical", False: "[bold red]DIFFERENT[/]"}
    return (
        f"{outcome.score_name} {outcome.score:.4f} on held-out data after {outcome.steps} steps,"
        f" {lost} of them done twice\n"
        f"weights {same[outcome.same_weights]}, metrics {same[outcome.same_metrics]},"
        f" order of samples {same[outcome.same_order]} to the uninterrupted run's"
    )


if __name__ == "__main__":
    sys.exit(main())
