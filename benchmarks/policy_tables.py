"""Show the figures: tables on a terminal, Markdown elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.policy_figures import Of, Promise, machines, name, one_by_one, place, together
from benchmarks.policy_replays import Policy
from benchmarks.policy_settings import GPUS, SETTINGS, Setting
from benchmarks.policy_windows import Part

OVERALL = ("", "cost", Part.TUNING, Part.HELD_BACK, "missed", "lost", "ours to it", "held back")


def show(of: Of) -> None:
    """Cost is to on-demand only: the work and one restore, in the cheapest region."""
    for gpus in GPUS:
        each, both = one_by_one(gpus), together(gpus)
        for title, settings in [(f"each region alone, {machines(gpus)}", each), (name(both[0]), both)]:
            show_rows(title, [OVERALL, *(_overall(of, policy, settings) for policy in Policy)])
    for gpus in GPUS:
        rows = [_by_setting(of, setting) for setting in SETTINGS if setting.gpus == gpus]
        show_rows(f"cost by region, {machines(gpus)}", [("", *Policy), *rows])


def show_promises(promises: Sequence[Promise]) -> None:
    console = Console()
    for it in promises:
        verdict = "ok     " if it.holds else "NOT met"
        console.print(f"{verdict}  {it.text}: {it.measured}", highlight=False, soft_wrap=True)


def _overall(of: Of, policy: Policy, settings: Sequence[Setting]) -> tuple[str, ...]:
    it = of(policy, settings, None)
    parts = [of(policy, settings, part).ratio for part in Part]
    to_it = [
        of(Policy.OURS, settings, part).ratio / of(policy, settings, part).ratio for part in (None, Part.HELD_BACK)
    ]
    return (
        policy,
        *(f"{ratio:.3f}" for ratio in (it.ratio, *parts)),
        f"{100 * it.missed / it.runs:.1f} %",
        "-" if policy is Policy.OPTIMUM else f"{it.preemptions:.1f}",
        *("" if policy is Policy.OURS else f"{ratio:.3f}" for ratio in to_it),
    )


def _by_setting(of: Of, setting: Setting) -> tuple[str, ...]:
    return (place(setting), *(f"{of(policy, [setting], None).ratio:.3f}" for policy in Policy))


def show_rows(title: str, rows: Sequence[Sequence[str]]) -> None:
    if not sys.stdout.isatty():
        lines = [rows[0], ("---", *("---:" for _ in rows[0][1:])), *rows[1:]]
        print("\n".join([f"### {title}", "", *(f"| {' | '.join(cells)} |" for cells in lines), ""]))
        return
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for number, head in enumerate(rows[0]):
        table.add_column(head, justify="right" if number else "left", no_wrap=not number)
    for cells in rows[1:]:
        table.add_row(*cells)
    Console().print(table)
