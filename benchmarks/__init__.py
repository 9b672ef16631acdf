"""Measure what a checkpoint costs, compared with the usual ways: `python -m benchmarks`, docs/benchmarks.md."""
