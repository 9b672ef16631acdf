"""Render reports."""
