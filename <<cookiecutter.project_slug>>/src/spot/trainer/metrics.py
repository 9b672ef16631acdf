"""Define the metrics of a task: a weighted mean over samples with a direction, optionally its exponential."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spot.trainer.distributed.group import ALONE, Group
from spot.trainer.runtime.errors import UsageError

TOKENS = "tokens"
"""The value of a step that is a count and no loss; its rate is reported."""
DIRECTIONS = ("max", "min", "exp max", "exp min")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Describe one metric."""

    name: str
    higher_is_better: bool
    exponential: bool

    def of(self, mean: float) -> float:
        """Return the metric of a weighted mean."""
        if not self.exponential:
            return mean
        try:
            return math.exp(mean)
        except OverflowError:
            return math.inf

    def gain(self, value: float) -> float:
        """Return the value such that higher is better."""
        return value if self.higher_is_better else -value


def parse_metrics(declared: object) -> tuple[Metric, ...]:
    """Return the metrics of `METRICS`; the first decides. Raise `UsageError` for one without a direction."""
    allowed = f"one of {', '.join(map(repr, DIRECTIONS))}"
    if not isinstance(declared, Mapping):
        raise UsageError(f'METRICS is {declared!r}: give each metric its direction, as in {{"accuracy": "max"}}')
    for name, direction in declared.items():
        if not isinstance(name, str) or not name.isprintable() or not name:
            raise UsageError(f"METRICS has the name {name!r}: name each metric by a text")
        if direction not in DIRECTIONS:
            raise UsageError(f"METRICS[{name!r}] is {direction!r}, which is not a direction: use {allowed}")
    return tuple(
        Metric(name=name, higher_is_better=direction.endswith("max"), exponential=direction.startswith("exp"))
        for name, direction in declared.items()
    )


def per_sample(values: Mapping[str, Any], group: Group = ALONE, count: int | None = None) -> dict[str, Tensor]:
    """Return values and weights of the samples of a batch by name, shape (2, samples). The default weight is 1.

    With `count` each rank has an equal part of these samples, and then repetitions. Raise `UsageError`.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"evaluation_step returned a {type(values).__name__}: return a dict of values per sample")
    found = {}
    for name, given in values.items():
        value, weight = given if isinstance(given, tuple) else (given, None)
        if not isinstance(value, Tensor) or value.dim() != 1:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(f"evaluation_step returned {name} as {shape}: return one value per sample, shape (B,)")
        weight = torch.ones_like(value) if weight is None else weight
        if weight.shape != value.shape:
            raise UsageError(
                f"evaluation_step returned {tuple(value.shape)} values and {tuple(weight.shape)} weights of {name}:"
                " return one weight per sample"
            )
        own = torch.stack([value.detach().double(), weight.detach().double()])
        found[name] = own if count is None else group.concat(own)[:, :count]
    return found


def means(samples: Mapping[str, Tensor], metrics: Iterable[Metric]) -> dict[str, float]:
    """Return the weighted means of `per_sample` values by name. Raise `UsageError` if a declared metric is missing."""
    declared = {metric.name: metric for metric in metrics}
    if missing := [name for name in declared if name not in samples]:
        raise UsageError(
            f"the evaluation returned no value of {missing[0]!r}, only {', '.join(samples) or 'nothing'}: return every"
            " metric of METRICS for each sample, and evaluate at least one sample"
        )
    found = {}
    for name, (values, weights) in samples.items():
        # Without this a sample of weight 0 and an infinite value would make the mean NaN.
        total, weight = float(torch.where(weights == 0, 0.0, values * weights).sum()), float(weights.sum())
        mean = total / weight if weight else math.nan
        found[name] = declared[name].of(mean) if name in declared else mean
    return found
