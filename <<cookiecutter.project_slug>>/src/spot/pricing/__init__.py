"""Prices of machines and estimates."""
