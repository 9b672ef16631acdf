"""Test that the order of samples depends on seed and epoch only, with shards and without."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from spot.trainer.data.order import Sample, extend_digest, order, part_of

sizes = st.integers(1, 60)
seeds = st.integers(0, 2**31 - 1)
epochs = st.integers(0, 9)
shards = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)
windows = st.integers(1, 5)


@given(seeds, epochs, sizes)
def test_an_epoch_visits_every_sample_once(seed: int, epoch: int, size: int) -> None:
    assert sorted(order(seed, epoch, size).tolist()) == list(range(size))


@given(seeds, epochs, shards, windows)
def test_an_epoch_over_shards_visits_every_sample_once(
    seed: int, epoch: int, shard_sizes: list[int], window: int
) -> None:
    assert sorted(order(seed, epoch, sum(shard_sizes), shard_sizes, window)) == list(range(sum(shard_sizes)))


@given(seeds, epochs, shards, windows)
def test_the_order_over_shards_is_the_same_when_asked_again(
    seed: int, epoch: int, shard_sizes: list[int], window: int
) -> None:
    first, again = (order(seed, epoch, sum(shard_sizes), shard_sizes, window).tolist() for _ in range(2))
    assert first == again


@given(seeds, epochs, shards, windows)
def test_no_more_shards_are_open_than_a_window_has(seed: int, epoch: int, shard_sizes: list[int], window: int) -> None:
    ends = list(accumulate(shard_sizes))
    left, opened = dict(enumerate(shard_sizes)), set[int]()
    for index in order(seed, epoch, sum(shard_sizes), shard_sizes, window).tolist():
        shard = next(number for number, end in enumerate(ends) if index < end)
        opened.add(shard)
        assert len(opened) <= window
        left[shard] -= 1
        opened -= {number for number in opened if left[number] == 0}


def test_every_epoch_and_seed_has_a_different_order() -> None:
    for shard_sizes in (None, [10] * 5):
        orders = {tuple(order(seed, epoch, 50, shard_sizes).tolist()) for seed in range(3) for epoch in range(3)}
        assert len(orders) == 9


def test_the_samples_of_a_window_are_mixed() -> None:
    first = order(0, 0, 400, [100] * 4)[:100] // 100
    assert len(set(first.tolist())) == 4


def test_the_random_numbers_of_a_sample_repeat_and_differ_by_epoch() -> None:
    visit = Sample(seed=1, epoch=2, index=3)
    assert visit.generator().random() == visit.generator().random()
    assert visit.generator().random() != Sample(seed=1, epoch=3, index=3).generator().random()


def test_the_digest_differs_for_another_order_of_the_same_samples() -> None:
    assert extend_digest("", 0, [1, 23]) != extend_digest("", 0, [12, 3]) != extend_digest("", 0, [3, 12])


def test_an_item_keeps_its_part_in_every_export() -> None:
    held_out = [number for number in range(40) if part_of(f"item-{number}", test=0.1) == "held_out"]
    assert held_out == [6, 8, 11, 15, 18, 29, 33, 35]
    assert [number for number in range(40) if part_of(f"item-{number}", test=0.1) == "test"] == [14, 37]


@given(st.floats(0, 0.5), st.floats(0, 0.5))
def test_the_parts_have_the_shares_asked_for(held_out: float, test: float) -> None:
    parts = [part_of(str(number), held_out=held_out, test=test) for number in range(2000)]
    assert abs(parts.count("held_out") / 2000 - held_out) < 0.06
    assert abs(parts.count("test") / 2000 - test) < 0.06


def test_a_third_part_is_taken_from_training_only() -> None:
    keys = [str(number) for number in range(500)]
    assert [key for key in keys if part_of(key) == "held_out"] == [
        key for key in keys if part_of(key, test=0.2) == "held_out"
    ]
