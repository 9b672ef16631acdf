"""Your model and your data."""
