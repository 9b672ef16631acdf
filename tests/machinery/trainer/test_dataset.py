"""Test that the order of samples depends on seed and epoch only, and that a run trains on its submitted data."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.storage.base import ABSENT
from spot.storage.factory import open_store
from spot.trainer.dataset import BatchSampler, Sample, extend_digest, permutation, read_pinned
from spot.trainer.runtime.errors import UsageError

sizes = st.integers(1, 60)
seeds = st.integers(0, 2**31 - 1)


def order(seed: int, size: int, batch_size: int, epoch: int = 0, offset: int = 0) -> BatchSampler:
    return BatchSampler(seed=seed, size=size, batch_size=batch_size, epoch=epoch, offset=offset)


@given(seeds, st.integers(0, 9), sizes)
def test_an_epoch_visits_every_sample_once(seed: int, epoch: int, size: int) -> None:
    assert sorted(permutation(seed, epoch, size)) == list(range(size))


@given(seeds, sizes, st.integers(1, 9), st.integers(0, 40))
def test_an_order_entered_at_any_batch_is_the_rest_of_the_whole_order(
    seed: int, size: int, batch_size: int, left_at: int
) -> None:
    whole = list(islice(order(seed, size, batch_size), 60))
    epoch, offset = 0, 0
    for batch in whole[:left_at]:
        offset += len(batch)
        if offset == size:
            epoch, offset = epoch + 1, 0
    entered = order(seed, size, batch_size, epoch, offset)
    assert list(islice(entered, 60 - left_at)) == whole[left_at:]


@given(seeds, sizes, st.integers(1, 9))
def test_no_batch_reaches_into_the_next_epoch(seed: int, size: int, batch_size: int) -> None:
    batches = list(islice(order(seed, size, batch_size), 30))
    assert all(len({sample.epoch for sample in batch}) == 1 for batch in batches)
    first = chain.from_iterable(batch for batch in batches if batch[0].epoch == 0)
    assert len([sample.index for sample in first]) == min(size, 30 * batch_size)


def test_every_epoch_and_seed_has_a_different_order() -> None:
    assert len({tuple(permutation(seed, epoch, 50)) for seed in range(3) for epoch in range(3)}) == 9


def test_the_random_numbers_of_a_sample_repeat_and_differ_by_epoch() -> None:
    visit = Sample(seed=1, epoch=2, index=3)
    assert visit.generator().random() == visit.generator().random()
    assert visit.generator().random() != Sample(seed=1, epoch=3, index=3).generator().random()


def test_the_digest_differs_for_another_order_of_the_same_samples() -> None:
    assert extend_digest("", 0, [1, 23]) != extend_digest("", 0, [12, 3]) != extend_digest("", 0, [3, 12])


def test_a_generation_in_the_uri_is_read_and_pinned(gs_uri: str) -> None:
    written = open_store(gs_uri).write("data", b"first", if_generation=ABSENT)
    content, pin = read_pinned(f"{gs_uri}/data#{written.generation}")
    assert (content, pin.uri, pin.generation) == (b"first", f"{gs_uri}/data", written.generation)


def test_data_overwritten_since_submit_is_refused_with_both_generations(gs_uri: str) -> None:
    store = open_store(gs_uri)
    first = store.write("data", b"first", if_generation=ABSENT)
    second = store.write("data", b"second", if_generation=first.generation)
    with pytest.raises(UsageError, match=f"#{first.generation}: .*has generation {second.generation}"):
        read_pinned(f"{gs_uri}/data#{first.generation}")


def test_without_a_generation_the_newest_is_read_and_pinned(gs_uri: str) -> None:
    written = open_store(gs_uri).write("data", b"content", if_generation=ABSENT)
    assert read_pinned(f"{gs_uri}/data")[1].generation == written.generation


def test_a_local_file_name_may_contain_a_hash_sign(tmp_path: Path) -> None:
    (tmp_path / "data#12").write_bytes(b"content")
    assert read_pinned(str(tmp_path / "data#12"))[0] == b"content"
