"""Render reports of runs and forecasts for terminal, Markdown, HTML and JSON."""
