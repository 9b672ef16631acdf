"""Configure the fixture task."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Model:
    """The table [model]."""

    dropout: float = 0.3
    blocks: int = 0
    """Blocks with layer normalization, which can be sharded, instead of convolutions with batch normalization."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Own keys of the table [training]."""

    learning_rate: float = 0.002


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that the fixture task can be told."""

    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
