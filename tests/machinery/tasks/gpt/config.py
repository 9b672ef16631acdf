"""Configure the language model."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Model:
    """The table [model]."""

    width: int = 32
    layers: int = 2
    dropout: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Training:
    """Own keys of the table [training]."""

    learning_rate: float = 0.003


@dataclass(frozen=True, kw_only=True)
class Config:
    """Both tables."""

    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
