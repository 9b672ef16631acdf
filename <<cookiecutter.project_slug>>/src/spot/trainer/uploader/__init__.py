"""Upload checkpoints in a separate process, without torch."""
