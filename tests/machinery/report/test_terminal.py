"""Test reports on a terminal of 80 columns."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from spot.accounting.cost import Totals
from spot.report import terminal
from tests.machinery import sample_runs
from tests.machinery.samples import after

COLUMNS = 80


def drawn(parts: Sequence[RenderableType]) -> str:
    """As `console.write` does it, in colour."""
    console = Console(width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False, markup=False)
    with console.capture() as caught:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, str))
    return caught.get()


def bare(text: str) -> list[str]:
    return [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()]


@pytest.mark.parametrize("name", sample_runs.SAMPLE_RUNS)
def test_a_report_fits_and_only_addresses_are_longer(name: str) -> None:
    for line in bare(drawn(terminal.report(sample_runs.SAMPLE_RUNS[name]().account))):
        assert len(line) <= COLUMNS or "https://" in line


def test_what_cost_more_than_on_demand_is_red() -> None:
    assert "\x1b[1;31mLOSS: $16.45, 60 % more than on-demand" in drawn(terminal.report(sample_runs.loss().account))
    assert "31m" not in drawn(terminal.report(sample_runs.calm().account))


def test_a_missed_deadline_is_red() -> None:
    assert "\x1b[1;31m2026-11-25 00:00 UTC, LATE by 1.9 h" in drawn(terminal.report(sample_runs.late().account))


def test_every_attempt_stands_on_a_line_of_its_own() -> None:
    lines = bare(drawn(terminal.report(sample_runs.handed_over().account)))
    assert "a10  on-demand us-central1     11-24 11:24   4.0 h   3.8 h  $4.00  handed-over" in lines
    assert "a12  spot us-east4 for a10     11-24 14:42   5.3 h   4.4 h  $3.18  succeeded" in lines


def test_what_was_paid_for_is_drawn() -> None:
    text = "\n".join(bare(drawn(terminal.report(sample_runs.loss().account))))
    assert re.search(r"^lost work +6\.5 h +36 % +██████ +after the last usable checkpoint$", text, re.MULTILINE)
    assert re.search(r"^no machine +2\.2 h +not billed$", text, re.MULTILINE)


def test_of_many_decisions_the_newest_are_shown_and_the_others_counted() -> None:
    lines = bare(drawn(terminal.report(sample_runs.late().account)))
    assert "28 earlier decisions: see --html or --json" in lines


def test_many_runs_have_a_line_each_and_what_they_come_to() -> None:
    accounts = tuple(sample_runs.SAMPLE_RUNS[name]().account for name in ("calm", "loss", "late", "failed"))
    found = Totals(since=after(), until=after(hours=60), accounts=accounts, skipped=("x.json is no record of a run",))
    lines = bare(drawn(terminal.many(found)))
    assert lines[:2] == [
        "LOSS: $33.06 for 4 runs, 7 % more than on-demand",
        "4 runs submitted since 2026-11-24 00:00 UTC",
    ]
    assert "20261124-000000-7c1e $16.45    $10.30 LOSS 60 % met by 4.1 h          9    55 %" in lines
    assert "skipped: x.json is no record of a run" in lines
    assert max(map(len, lines)) <= COLUMNS


def test_a_long_id_is_folded_and_nothing_else() -> None:
    calm = sample_runs.calm()
    account = replace(calm, run=replace(calm.run, id="a-retraining-of-the-model-of-last-week-20261124")).account
    found = Totals(since=after(), until=after(hours=60), accounts=(account,), skipped=())
    lines = bare(drawn(terminal.many(found)))
    assert any(line.endswith("$5.20    $10.40  50 % met by 13.4 h         0    97 %") for line in lines)
    assert max(map(len, lines)) <= COLUMNS


def test_an_empty_report_is_reported() -> None:
    nothing = Totals(since=after(), until=after(hours=60), accounts=(), skipped=())
    assert bare(drawn(terminal.many(nothing))) == ["No run submitted since 2026-11-24 00:00 UTC has ended."]
