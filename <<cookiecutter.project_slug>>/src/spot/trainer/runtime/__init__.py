"""Flags, signals, exit codes and logging of the trainer."""
