"""Which checkpoints to keep."""

from __future__ import annotations

from collections.abc import Mapping


def expired(scores: Mapping[int, float | None], keep: int) -> list[int]:
    """The steps to drop, oldest first: all but the `keep` newest and the one with the best held-out score.

    `scores` maps each committed step to its score, higher is better, None before the first evaluation.
    """
    newest = sorted(scores)[-keep:]
    scored = {step: score for step, score in scores.items() if score is not None}
    best = max(scored, key=lambda step: (scored[step], -step), default=None)
    return sorted(set(scores) - set(newest) - {best})
