"""Configure the regression: it has no table [model]."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Training:
    """Own keys of the table [training]."""

    learning_rate: float = 0.02


@dataclass(frozen=True, kw_only=True)
class Config:
    """The one table."""

    training: Training = field(default_factory=Training)
