"""Choose the checkpoints to keep."""

from collections.abc import Mapping

from spot.storage.paths import Commit


def expired(scores: Mapping[Commit, float | None], keep: int) -> list[Commit]:
    """Return the checkpoints to delete, oldest first: all but the `keep` newest and the best by held-out score.

    `scores` maps each checkpoint to its score (higher is better), None before the first evaluation.
    """
    newest = sorted(scores)[-keep:]
    scored = {commit: score for commit, score in scores.items() if score is not None}
    best = max(scored, key=lambda commit: (scored[commit], -commit.step), default=None)
    return sorted(set(scores) - set(newest) - {best})
