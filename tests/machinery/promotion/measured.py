"""Provide evaluations of two models that answer samples right or wrong."""

from __future__ import annotations

from typing import Any

from spot.core.evaluation import Evaluation, Measurement, Paired

CHAMPION = "20261101-champion"


def measured(better: int, worse: int, samples: int, *, right: int | None = None, **changes: Any) -> Measurement:
    """Return an accuracy. Only the new model is right on `better` samples, only the champion on `worse`."""
    common = (samples - better - worse) // 2 if right is None else right
    paired = Paired(
        challenger=(common + better) / samples,
        champion=(common + worse) / samples,
        squares=float(better + worse),
        spread=0.0 if common + better + worse in {0, samples} and not better + worse else 1.0,
    )
    values = {"metric": "accuracy", "higher_is_better": True, "score": paired.challenger, "paired": paired}
    return Measurement(samples=samples, **{**values, **changes})


def evaluation(judged: Measurement, *slices: Measurement, **changes: Any) -> Evaluation:
    """Return an evaluation against `CHAMPION`."""
    return Evaluation(**{"run": "20261128-new", "measurements": (judged, *slices), "champion": CHAMPION, **changes})


def alone(score: float | None = 0.9, **changes: Any) -> Evaluation:
    """Return the evaluation of a run that was submitted before there was a champion."""
    judged = Measurement(metric="accuracy", higher_is_better=True, samples=360, score=score)
    return evaluation(judged, **{"champion": None, **changes})
