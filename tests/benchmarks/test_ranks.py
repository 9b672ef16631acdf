"""Test the comparison of many ranks with torch.distributed.checkpoint, and the forms in which it is shown."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.ranks import RanksMeasured, table, targets
from benchmarks.ranks_trainee import DCP, OURS

SINGLE = RanksMeasured(way=OURS, kind="none", world=1, first_durable_s=1.0, stall_s=0.04, durable_s=0.7, sigterm_s=0.5)
TWO = replace(SINGLE, kind="fsdp", world=2, stall_s=0.05, durable_s=0.8, sigterm_s=0.75)
THEIRS = replace(TWO, way=DCP, stall_s=0.10, durable_s=1.0, sigterm_s=None)


def test_targets_compare_equal_ranks_and_hold_up_to_half_the_stall_and_four_fifths_of_the_time() -> None:
    elsewhere = replace(THEIRS, world=4, stall_s=9.0)
    found = targets([SINGLE, TWO, THEIRS, elsewhere])
    assert [(target.measured, target.holds) for target in found] == [("0.50", True), ("0.80", True)]
    slower = targets([SINGLE, replace(TWO, stall_s=0.051, durable_s=0.81), THEIRS])
    assert [target.holds for target in slower] == [False, False]


def test_the_table_holds_multiples_of_the_single_rank() -> None:
    *_, ours, theirs = table([SINGLE, TWO, THEIRS])
    assert ours == "| ours, fsdp | 2 | 1.25 x | 1.14 x | 1.00 x | 1.50 x |"
    assert theirs.endswith("| - |")
