"""Replay the policy over capacity traces."""
