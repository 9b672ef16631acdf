"""Upload checkpoints in a process of its own."""
