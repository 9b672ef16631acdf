"""Clients of Google services."""
