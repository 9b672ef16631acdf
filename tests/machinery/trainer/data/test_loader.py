"""Test that a loader yields the same batches after every resume, moved to its device, and refuses a foreign state."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from spot.trainer.data.loader import Loader
from spot.trainer.data.order import Sample, order
from spot.trainer.runtime.errors import Stopped, UsageError

CPU = torch.device("cpu")


class Numbers:
    """Hold `size` items, each its own number."""

    def __init__(self, size: int, shard_sizes: list[int] | None = None) -> None:
        self.size = size
        if shard_sizes is not None:
            self.shard_sizes = shard_sizes

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, sample: Sample) -> Any:
        return sample.index


def loader(size: int = 20, batch_size: int = 6, micro: int | None = None, **more: Any) -> Loader:
    return Loader(Numbers(size), batch_size=batch_size, micro=micro, seed=more.pop("seed", 3), device=CPU, **more)


def taken(batches: Iterator[Tensor], count: int) -> list[list[int]]:
    return [batch.tolist() for batch in islice(batches, count)]


loaders = {"size": st.integers(1, 30), "batch_size": st.integers(1, 9), "micro": st.none() | st.integers(1, 9)}


@given(**loaders)
def test_batches_follow_the_order_of_each_epoch(size: int, batch_size: int, micro: int | None) -> None:
    made = loader(size, batch_size, micro)
    batches = iter(made)
    for epoch in range(3):
        assert (made.epoch, made.offset) == (epoch, 0)
        seen: list[int] = []
        while made.epoch == epoch:
            seen += next(batches).tolist()
        assert seen == order(3, epoch, size).tolist()


@given(**loaders)
def test_no_batch_reaches_into_another_step(size: int, batch_size: int, micro: int | None) -> None:
    made = loader(size, batch_size, micro)
    batches = iter(made)
    steps = []
    for _ in range(2 * made.steps_per_epoch):
        counts = []
        while True:
            next(batches)
            assert made.count <= (micro or batch_size)
            counts.append(made.count)
            if made.step_ended:
                break
        assert sum(counts) == made.step_count
        assert made.offset % batch_size == 0
        steps.append(sum(counts))
    epoch = [batch_size] * (size // batch_size) + [size % batch_size] * (size % batch_size > 0)
    assert steps == 2 * epoch


@given(**loaders, left_at=st.integers(0, 40))
def test_a_state_of_any_batch_continues_with_the_rest_of_the_order(
    size: int, batch_size: int, micro: int | None, left_at: int
) -> None:
    whole = loader(size, batch_size, micro)
    batches = iter(whole)
    taken(batches, left_at)
    state = whole.state_dict()
    resumed = loader(size, batch_size, micro)
    resumed.load_state_dict(state)
    assert taken(iter(resumed), 15) == taken(batches, 15)
    assert resumed.state_dict() == whole.state_dict()


def test_the_state_counts_batches_yielded_not_those_prepared_by_workers() -> None:
    made = loader(workers=2)
    alone = loader()
    batches = iter(made)
    assert taken(batches, 5) == taken(iter(alone), 5)
    assert made.state_dict() == alone.state_dict()
    assert made.offset == 6


def test_a_state_loaded_into_a_running_iterator_takes_effect_at_its_next_batch() -> None:
    made = loader()
    batches = iter(made)
    start, first = made.state_dict(), taken(batches, 3)
    made.load_state_dict(start)
    assert taken(batches, 3) == first


def test_iterators_share_one_position() -> None:
    made, expected = loader(), taken(iter(loader()), 4)
    first, second = iter(made), iter(made)
    assert [next(each).tolist() for each in (first, second, first, second)] == expected


def test_the_digest_covers_all_samples_read() -> None:
    one, other = loader(), loader(seed=4)
    for each in (one, other):
        taken(iter(each), 4)
    assert len({one.order_digest, other.order_digest, loader().order_digest}) == 3


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"size": 21}, "size 20 and this one 21"),
        ({"batch_size": 5}, "batch_size 6 and this one 5"),
        ({"seed": 4}, "seed 3 and this one 4"),
    ],
)
def test_a_state_of_another_loader_is_refused_with_both_values(other: dict[str, int], words: str) -> None:
    state = loader().state_dict()
    with pytest.raises(UsageError, match=words):
        loader(**other).load_state_dict(state)


def test_a_state_of_other_shards_is_refused() -> None:
    first, second = (Loader(Numbers(20, sizes), batch_size=6, seed=3, device=CPU) for sizes in ([10, 10], [5, 15]))
    with pytest.raises(UsageError, match="shards"):
        second.load_state_dict(first.state_dict())


@pytest.mark.parametrize("change", [{"offset": 20}, {"offset": -1}, {"epoch": -1}, {"order_digest": None}])
def test_a_position_outside_the_data_is_no_state(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no position among 20 samples"):
        loader().load_state_dict({**loader().state_dict(), **change})


def test_a_state_cut_in_other_batches_continues_the_same_order() -> None:
    whole, halves = loader(), loader(micro=3)
    first = iter(whole)
    taken(first, 2)
    halves.load_state_dict(whole.state_dict())
    assert list(chain(*taken(iter(halves), 3))) == list(chain(*taken(first, 2)))  # of 6 and 2 samples


@pytest.mark.parametrize("workers", [0, 2])
def test_without_training_it_passes_over_all_samples_in_order_each_time(workers: int) -> None:
    made = loader(train=False, workers=workers)
    for _ in range(2):
        assert [batch.tolist() for batch in made] == [list(range(20))[start : start + 6] for start in range(0, 20, 6)]


class Pair(NamedTuple):
    """Be a part of a nested batch."""

    first: Tensor
    second: Tensor


class Nested(Numbers):
    """Hold items of every structure."""

    def __getitem__(self, sample: Sample) -> Any:
        number = torch.tensor(float(sample.index))
        return {"pair": Pair(number, number), "list": [number], "name": f"item {sample.index}", "index": sample.index}


@pytest.mark.parametrize("workers", [0, 1])
def test_nested_batches_reach_the_device_whole(workers: int) -> None:
    made = Loader(
        Nested(4), batch_size=2, seed=0, device=torch.device("meta" if not workers else "cpu"), workers=workers
    )
    batch = next(iter(made))
    assert isinstance(batch["pair"], Pair)
    assert {batch["pair"].first.device, batch["list"][0].device, batch["index"].device} == {made.device}
    assert all(name.startswith("item ") for name in batch["name"])


def packed(items: list[int]) -> PackedSequence:
    return pack_sequence([torch.ones(1 + item) for item in items], enforce_sorted=False)


def test_a_batch_that_moves_itself_is_moved_by_its_own_rule() -> None:
    made = Loader(Numbers(4), batch_size=2, seed=0, device=torch.device("meta"), collate=packed)
    batch = next(iter(made))
    assert batch.data.device.type == "meta"
    assert batch.batch_sizes.device.type == "cpu"


class Refusing(Numbers):
    """Refuse one item."""

    def __getitem__(self, sample: Sample) -> Any:
        raise UsageError("--data x: it was overwritten")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_data_keeps_its_one_line(workers: int) -> None:
    with pytest.raises(UsageError) as caught:
        next(iter(Loader(Refusing(4), batch_size=2, seed=0, device=CPU, workers=workers)))
    assert caught.value.lines == ["--data x: it was overwritten"]
    assert not multiprocessing.active_children()  # though the error keeps the frames of the loader alive


def test_an_interruption_while_it_waits_for_data_loses_no_batch() -> None:
    left = 3

    @contextlib.contextmanager
    def interruptible() -> Iterator[None]:
        nonlocal left
        yield
        left -= 1
        if left == 0:  # as a signal does that arrives with the batch
            raise Stopped

    made, expected = loader(interruptible=interruptible), taken(iter(loader()), 6)
    batches = iter(made)
    seen = taken(batches, 2)
    with pytest.raises(Stopped):
        next(batches)
    assert seen + taken(iter(made), 4) == expected


def test_iterating_leaves_the_global_generators_alone() -> None:
    random.seed(1)
    torch.manual_seed(1)
    before = random.getstate(), torch.get_rng_state().tolist()
    taken(iter(loader(workers=1)), 5)
    assert (random.getstate(), torch.get_rng_state().tolist()) == before


def test_empty_data_and_wrong_shards_are_refused() -> None:
    with pytest.raises(UsageError, match="holds no samples"):
        loader(0)
    with pytest.raises(UsageError, match="adds up to 19, and there are 20 items"):
        Loader(Numbers(20, [10, 9]), batch_size=6, seed=3, device=CPU)


def test_the_shared_memory_of_nested_batches_counts_every_tensor() -> None:
    sizes = [
        Loader(Nested(4), batch_size=2, seed=0, device=CPU, workers=2, train=train).shared_memory()
        for train in (True, False)
    ]
    # Three float32 and an int64 a sample: two workers prepare two batches of two each, an evaluation has four samples.
    assert sizes == [8 * 20, 4 * 20]


class Ragged(Numbers):
    def __getitem__(self, sample: Sample) -> Any:
        return torch.zeros(1 + sample.index % 2)


@pytest.mark.parametrize("workers", [0, 1])
def test_items_of_different_sizes_ask_for_a_collate(workers: int) -> None:
    made = Loader(Ragged(8), batch_size=4, seed=3, device=CPU, workers=workers)
    with pytest.raises(UsageError, match=r"differ in size .*: pad them in a collate of Data"):
        list(islice(made, 8))


@given(world=st.integers(1, 4), size=st.integers(1, 40), steps=st.integers(1, 12), stop=st.integers(0, 12))
def test_ranks_share_each_batch_in_an_order_that_does_not_depend_on_their_number(
    world: int, size: int, steps: int, stop: int
) -> None:
    """Resume after `stop` batches on `world` ranks, each of which reads a part of the same batches."""
    alone = loader(size, 12, 12)
    expected = taken(iter(alone), stop + steps)
    before = loader(size, 12, 12)
    taken(iter(before), stop)
    ranks = [loader(size, 12, 12, rank=rank, ranks=world) for rank in range(world)]
    parts = []
    for one in ranks:
        one.load_state_dict(before.state_dict())
        parts.append(taken(iter(one), steps))
    for batch, *own in zip(expected[stop:], *parts, strict=True):
        shared = list(chain(*own))
        assert shared[: len(batch)] == batch
        assert {len(part) for part in own} == {-(-len(batch) // world)}
        assert set(shared[len(batch) :]) <= set(batch), "only samples of the same batch are repeated"
    assert {(one.order_digest, one.epoch, one.offset, one.steps_per_epoch) for one in ranks} == {
        (alone.order_digest, alone.epoch, alone.offset, alone.steps_per_epoch)
    }


@given(world=st.integers(1, 4), size=st.integers(1, 40), micro=st.integers(1, 9))
def test_each_held_out_sample_is_read_by_a_rank(world: int, size: int, micro: int) -> None:
    ranks = [loader(size, micro, train=False, rank=rank, ranks=world) for rank in range(world)]
    seen = []
    for parts in zip(*ranks, strict=True):
        seen += torch.cat(parts).tolist()[: ranks[0].count]
    assert seen == list(range(size))


def test_a_step_that_ranks_cannot_divide_is_refused_with_the_numbers() -> None:
    with pytest.raises(UsageError, match="4 ranks cannot divide the 6 samples of a forward pass: use a --batch-size"):
        loader(20, 12, 6, ranks=4)
