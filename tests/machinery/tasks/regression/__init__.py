"""A regression: two metrics with weights, several losses, batches that are named tuples."""
