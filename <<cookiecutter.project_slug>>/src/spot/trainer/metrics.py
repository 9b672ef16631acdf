"""Define the metrics of a task: a weighted mean over samples with a direction, optionally its exponential."""

import math
from collections.abc import Iterable, Iterator, Mapping
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


def per_sample(
    values: Mapping[str, Any], group: Group = ALONE, count: int | None = None
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, values and weights of the samples of a batch; a value without weights has weight 1.

    With `count` each rank has an equal part of these samples, and then repetitions. Raise `UsageError`.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"evaluation_step returned a {type(values).__name__}: return a dict of values per sample")
    for name, given in values.items():
        value, weight = given if isinstance(given, tuple) else (given, None)
        if not isinstance(value, Tensor) or value.dim() != 1:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(f"evaluation_step returned {name} as {shape}: return one value per sample, shape (B,)")
        value = value.detach().double()
        weight = torch.ones_like(value) if weight is None else weight.detach().double()
        if weight.shape != value.shape:
            raise UsageError(
                f"evaluation_step returned {tuple(value.shape)} values and {tuple(weight.shape)} weights of {name}:"
                " return one weight per sample"
            )
        if count is not None:
            value, weight = group.concat(torch.stack([value, weight]))[:, :count]
        yield name, value, weight


class Means:
    """Accumulate weighted means over batches, on the device."""

    def __init__(self, metrics: Iterable[Metric], group: Group = ALONE) -> None:
        self._metrics = {metric.name: metric for metric in metrics}
        self._group = group
        self._sums: dict[str, tuple[Tensor, Tensor]] = {}

    def add(self, values: Mapping[str, Any], count: int | None = None) -> None:
        """Add a batch, see `per_sample`."""
        for name, value, weight in per_sample(values, self._group, count):
            # Without this a sample of weight 0 and an infinite value would make the mean NaN.
            weighted = torch.where(weight == 0, 0.0, value * weight).sum()
            total, weights = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = total + weighted, weights + weight.sum()

    def results(self) -> dict[str, float]:
        """Return the metrics by name. Raise `UsageError` if a declared one is missing."""
        if missing := [name for name in self._metrics if name not in self._sums]:
            raise UsageError(
                f"the evaluation returned no value of {missing[0]!r}, only {', '.join(self._sums) or 'nothing'}: return"
                " every metric of METRICS for each sample, and evaluate at least one sample"
            )
        found = {}
        for name, (total, weight) in self._sums.items():
            mean = float(total) / float(weight) if float(weight) else math.nan
            found[name] = self._metrics[name].of(mean) if name in self._metrics else mean
        return found
