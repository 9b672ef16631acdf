"""The `spot` command line."""
