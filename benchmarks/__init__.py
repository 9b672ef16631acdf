"""What a checkpoint costs, beside the usual ways of taking one: `python -m benchmarks`, docs/benchmarks.md."""
