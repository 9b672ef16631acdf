"""Provide flags, signals, errors and logging to the trainer. Imports no torch."""
