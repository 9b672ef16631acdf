"""Call Google services."""
