"""Define the measurements of a new model and of the champion on the same held-out samples. No I/O and no clock."""

import math
import re
from dataclasses import dataclass
from typing import Annotated

from spot.core.fields import Bounds, Id

Z = 1.645
"""One-sided, 95 %."""

Number = Annotated[float, Bounds(-1e150, 1e150)]
"""Its square is finite."""
Positive = Annotated[float, Bounds(0, 1e150)]
MOST_TEXT = 300
_LINE = r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e]"
Name = Annotated[str, re.compile(f"{_LINE}{{1,100}}")]
Reason = Annotated[str, re.compile(f"{_LINE}{{1,{MOST_TEXT}}}")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Compare two models sample by sample. A metric such as perplexity is compared before its exponential."""

    challenger: Number
    """Mean of the new model."""
    champion: Number
    squares: Positive
    """Sum of the squared differences."""
    spread: Positive
    """Between the least and the greatest value of a sample, of both models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Hold one metric of the new model, on all held-out samples or on a slice."""

    metric: Name
    slice: Name | None = None
    higher_is_better: bool
    samples: Annotated[int, Bounds(1, 10**10)]
    score: Number | None
    """Of the new model; None if it is not finite."""
    paired: Paired | None = None

    def __str__(self) -> str:
        return f"{self.metric} {'not finite' if self.score is None else f'{self.score:.4g}'}"

    @property
    def gain(self) -> float | None:
        """Return by how much the new model is better; None without a comparison."""
        if self.paired is None:
            return None
        difference = self.paired.challenger - self.paired.champion
        return difference if self.higher_is_better else -difference

    def gain_bounds(self, samples: int) -> tuple[float, float]:
        """Return the 95 % lower and upper bound of the gain, as if `samples` like these had been measured.

        Half a sample is added to each side, as far apart as samples can be (Agresti and Min, 2005). Without it, two
        models with equal answers on 20 samples would count as equal with certainty.
        """
        assert self.paired and self.gain is not None  # noqa: PT018
        # Equal values show no spread. Their size stands for it, as 1 where all answers are right.
        spread = self.paired.spread or abs(self.paired.challenger) or 1.0
        mean = self.gain * samples / (samples + 2)
        squares = self.paired.squares * samples / self.samples + spread**2
        half = Z * math.sqrt(max(squares / (samples + 2) - mean**2, 0.0) / (samples + 2))
        return mean - half, mean + half

    @property
    def bounds(self) -> tuple[float, float]:
        return self.gain_bounds(self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Hold what a run measured after its training."""

    run: Id
    measurements: tuple[Measurement, ...]
    """The first decides: its metric on all samples. Its slices may veto."""
    champion: Id | None = None
    """The run that trained the champion; None if there was none at submit."""
    problem: Reason | None = None
    """Why the champion could not be compared."""

    @property
    def judged(self) -> Measurement:
        return self.measurements[0]

    @property
    def slices(self) -> list[Measurement]:
        """Return the slices of the metric that decides."""
        return [one for one in self.measurements if one.slice and one.metric == self.judged.metric and one.paired]
