"""The newest checkpoints and the best one are kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainer.retention import expired

committed = st.dictionaries(st.integers(0, 10**6), st.none() | st.floats(0, 1), max_size=12)
keeps = st.integers(1, 5)


@given(committed, keeps)
def test_the_newest_are_kept(scores: dict[int, float | None], keep: int) -> None:
    assert not set(sorted(scores)[-keep:]) & set(expired(scores, keep))


@given(committed, keeps)
def test_one_with_the_best_score_is_kept(scores: dict[int, float | None], keep: int) -> None:
    kept = [scores[step] for step in scores if step not in expired(scores, keep)]
    known = [score for score in scores.values() if score is not None]
    assert not known or max(known) in kept


@given(committed, keeps)
def test_no_more_than_that_is_kept(scores: dict[int, float | None], keep: int) -> None:
    assert len(scores) - len(expired(scores, keep)) <= keep + 1


def test_the_oldest_goes_first() -> None:
    assert expired(dict.fromkeys(range(6)), 2) == [0, 1, 2, 3]
