"""Test that the cost of a reconcile depends on open runs only."""

from __future__ import annotations

from benchmarks.supervisor import PER_RECONCILE, measure


def test_a_pass_costs_a_few_calls_for_each_open_run_and_none_for_a_closed_one(gs_uri: str) -> None:
    figures = measure(gs_uri, open_runs=3, closed_runs=30)
    assert figures.calls_per_closed == 0
    assert figures.storage_per_open <= 4  # its record, its manifests, the newest of them, its completion
    assert figures.vertex_per_open == 1


def test_to_create_a_job_takes_two_writes_and_one_call_to_vertex_and_one_to_see_it(gs_uri: str) -> None:
    figures = measure(gs_uri, open_runs=2, closed_runs=1)
    assert figures.begin.vertex == 2 * 2
    assert figures.begin.storage <= PER_RECONCILE + 2 * 7
