"""The order of samples depends on nothing but seed and epoch, and can be entered anywhere."""

from __future__ import annotations

from itertools import chain, islice

from hypothesis import given
from hypothesis import strategies as st

from spot.trainer.dataset import BatchSampler, Sample, extend_digest, permutation

sizes = st.integers(1, 60)
seeds = st.integers(0, 2**31 - 1)


def order(seed: int, size: int, batch_size: int, epoch: int = 0, offset: int = 0) -> BatchSampler:
    return BatchSampler(seed=seed, size=size, batch_size=batch_size, epoch=epoch, offset=offset)


@given(seeds, st.integers(0, 9), sizes)
def test_an_epoch_visits_every_sample_once(seed: int, epoch: int, size: int) -> None:
    assert sorted(permutation(seed, epoch, size)) == list(range(size))


@given(seeds, sizes, st.integers(1, 9), st.integers(0, 40))
def test_entered_at_any_batch_it_goes_on_as_if_never_left(seed: int, size: int, batch_size: int, left_at: int) -> None:
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


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    assert len({tuple(permutation(seed, epoch, 50)) for seed in range(3) for epoch in range(3)}) == 9


def test_a_visit_has_randomness_of_its_own_that_repeats() -> None:
    visit = Sample(seed=1, epoch=2, index=3)
    assert visit.generator().random() == visit.generator().random()
    assert visit.generator().random() != Sample(seed=1, epoch=3, index=3).generator().random()


def test_the_digest_tells_orders_apart_that_hold_the_same_samples() -> None:
    assert extend_digest("", 0, [1, 23]) != extend_digest("", 0, [12, 3]) != extend_digest("", 0, [3, 12])
