"""Configure the cache."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Training:
    """Own keys of the table [training]."""

    cache: str = "cache"
    learning_rate: float = 0.01


@dataclass(frozen=True, kw_only=True)
class Config:
    """The one table."""

    training: Training = field(default_factory=Training)
