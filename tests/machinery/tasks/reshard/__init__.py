"""Say what was restored and what was saved, on any number of ranks."""
