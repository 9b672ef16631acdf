"""Configure the transformer: nothing can be told."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Config:
    """The empty configuration."""
