"""Train with durable checkpoints and exact resume."""
