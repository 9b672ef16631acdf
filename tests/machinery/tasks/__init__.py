"""Provide tasks of several shapes, each a package that `python -m` trains."""
