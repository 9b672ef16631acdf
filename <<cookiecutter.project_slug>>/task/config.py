"""Your settings: change this file. It runs before training starts, also on machines without PyTorch.

`Model` has the keys of [model] in spot.toml and the flags `--model.channels`; `Training` has keys of [training] and
flags such as `--learning-rate`. Allowed are int, float, bool, str, Literal and tuple[X, ...], each with a default.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Model:
    """Hold what `build` needs."""

    channels: int = 32
    dropout: float = 0.3


@dataclass(frozen=True, kw_only=True)
class Training:
    """Hold what `build_optimizer` needs."""

    learning_rate: float = 0.002
    weight_decay: float = 0.01


@dataclass(frozen=True, kw_only=True)
class Config:
    """Hold the tables."""

    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
