"""A small transformer with dropout: blocks that FSDP shards, and sums whose result depends on their order."""
