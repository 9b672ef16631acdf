"""Render reports of runs for terminal, Markdown, HTML and JSON."""
