"""Test that the newest checkpoints and the best one are kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spot.storage.paths import Commit
from spot.trainer.uploader.worker import expired

COMMITS = st.builds(
    Commit, step=st.integers(0, 10**6), token=st.integers(1, 3), from_step=st.just(0), from_token=st.just(0)
)
committed = st.dictionaries(COMMITS, st.none() | st.floats(0, 1), max_size=12)
keeps = st.integers(1, 5)


@given(committed, keeps)
def test_the_newest_are_kept(scores: dict[Commit, float | None], keep: int) -> None:
    assert not set(sorted(scores)[-keep:]) & set(expired(scores, keep))


@given(committed, keeps)
def test_one_with_the_best_score_is_kept(scores: dict[Commit, float | None], keep: int) -> None:
    kept = [scores[commit] for commit in scores if commit not in expired(scores, keep)]
    known = [score for score in scores.values() if score is not None]
    assert not known or max(known) in kept


@given(committed, keeps)
def test_no_more_than_that_is_kept(scores: dict[Commit, float | None], keep: int) -> None:
    assert len(scores) - len(expired(scores, keep)) <= keep + 1


def test_the_oldest_goes_first() -> None:
    commits = [Commit(step=step, token=1, from_step=0, from_token=0) for step in range(6)]
    assert expired(dict.fromkeys(commits), 2) == commits[:4]
