"""Decide the next action of a run. Pure functions."""
