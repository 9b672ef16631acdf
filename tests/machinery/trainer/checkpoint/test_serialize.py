"""Test that a checkpoint is a safetensors file with exactly the written state."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load as load_safetensors

from spot.storage.base import Damaged
from spot.trainer.checkpoint.boxes import owner
from spot.trainer.checkpoint.serialize import StagingWriter, check, parse, parse_boxes, state_name
from spot.trainer.uploader.buffer import SharedBuffer

dtypes = st.sampled_from(
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool]
)
shapes = st.lists(st.integers(0, 4), max_size=3)


@st.composite
def tensor(draw: st.DrawFn) -> torch.Tensor:
    values = torch.randint(0, 100, draw(shapes), generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    made = values.to(draw(dtypes))
    return made.T if made.dim() == 2 and draw(st.booleans()) else made


named = st.dictionaries(st.text(min_size=1).filter(lambda name: owner(name) is None), tensor(), max_size=6)


def written(image: StagingWriter, buffer: SharedBuffer, tensors: dict[str, torch.Tensor], state: bytes) -> memoryview:
    size = image.write(tensors, state)
    return buffer.view(size)[:size]


def equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name]) for name in ours
    )


@given(named, st.binary())
def test_tensors_and_state_come_back(tensors: dict[str, torch.Tensor], state: bytes) -> None:
    buffer = SharedBuffer()
    found, rest = parse(written(StagingWriter(buffer), buffer, tensors, state))
    assert equal(tensors, found)
    assert rest == state


@given(named, st.binary())
def test_the_safetensors_library_reads_it(tensors: dict[str, torch.Tensor], state: bytes) -> None:
    buffer = SharedBuffer()
    found = load_safetensors(bytes(written(StagingWriter(buffer), buffer, tensors, state)))
    assert bytes(found.pop(state_name(0)).tolist()) == state
    assert equal(tensors, found)


@given(st.lists(st.tuples(named, st.binary(max_size=200_000)), min_size=2, max_size=5))
def test_a_buffer_that_is_used_again_holds_only_the_last_image(
    images: list[tuple[dict[str, torch.Tensor], bytes]],
) -> None:
    buffer = SharedBuffer()
    image = StagingWriter(buffer)
    for tensors, state in images:
        found, rest = parse(written(image, buffer, tensors, state))
        assert equal(tensors, found)
        assert rest == state


def test_the_sources_may_change_once_it_is_written() -> None:
    buffer, source = SharedBuffer(), torch.zeros(1000)
    view = written(StagingWriter(buffer), buffer, {"x": source}, b"")
    source.fill_(1)
    assert parse(view)[0]["x"].sum() == 0


def test_equal_states_give_equal_bytes() -> None:
    first, second = SharedBuffer(), SharedBuffer()
    image = StagingWriter(second)
    image.write({"other": torch.ones(7)}, b"something longer before")
    state = {"a": torch.arange(3), "b": torch.ones(())}
    assert bytes(written(StagingWriter(first), first, state, b"s")) == bytes(written(image, second, state, b"s"))


@given(st.binary(max_size=300))
def test_nonsense_is_damage(data: bytes) -> None:
    with pytest.raises(Damaged):
        parse_boxes(memoryview(bytearray(data)))


def test_a_header_that_points_outside_is_damage() -> None:
    buffer = SharedBuffer()
    view = written(StagingWriter(buffer), buffer, {"x": torch.zeros(4)}, b"{}")
    data = bytearray(bytes(view).replace(b"[0,16]", b"[8,24]"))
    with pytest.raises(Damaged):
        parse_boxes(memoryview(data))


def test_a_dtype_that_has_no_place_in_the_format_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"weights has dtype torch\.complex64"):
        StagingWriter(SharedBuffer()).write({"weights": torch.zeros(1, dtype=torch.complex64)}, b"")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (torch.zeros(1, dtype=torch.complex64), r"w has dtype torch\.complex64"),
        (torch.eye(2).to_sparse(), "w is not a dense tensor"),
        ({"scale": 1}, "w is not a dense tensor"),
    ],
)
def test_what_cannot_be_held_is_known_before_a_save(value: object, says: str) -> None:
    check({"w": torch.zeros(1)})
    with pytest.raises(TypeError, match=says):
        check({"v": torch.zeros(1), "w": value})
