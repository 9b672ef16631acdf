"""Test which errors follow from the end of another rank: texts that were seen, or that libtorch holds."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from spot.trainer.distributed.join import is_lost
from spot.trainer.runtime.errors import PeerLost, TrainingError

GLOO = "[/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/"
SEEN = [
    f"{GLOO}pair.cc:537] Read error [127.0.0.1]:10153: Connection reset by peer. This is typically caused by a remote",
    f"{GLOO}pair.cc:553] Connection closed by peer [127.0.0.1]:31154. This is typically caused by a remote worker",
    f"{GLOO}unbound_buffer.cc:81] Timed out waiting 3000ms for recv operation to complete",
    f"{GLOO}pair.cc:144] Write timeout [10.99.0.2]:4711",
    "Application timeout caused pair closure",
    "Pair is not connected (127.0.0.1:4711)",
    "Operation timed out!",
    "NCCL communicator was aborted on rank 1.",
]


@pytest.mark.parametrize("text", SEEN)
def test_a_text_of_gloo_or_nccl_is_a_lost_rank(text: str) -> None:
    assert is_lost(RuntimeError(text))
    try:
        try:
            raise RuntimeError(text)
        except RuntimeError as error:
            raise ValueError("the step failed") from error
    except ValueError as error:
        assert is_lost(error)  # noqa: PT017  # the chain is what is tested


@pytest.mark.parametrize("error", [PeerLost("rank 0"), dist.DistBackendError("x"), dist.DistNetworkError("x")])
def test_errors_of_the_network_are_a_lost_rank(error: Exception) -> None:
    assert is_lost(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: out of memory"), ValueError(SEEN[0]), TrainingError("the loss is nan"), None]
)
def test_a_failure_of_this_rank_is_its_own(error: Exception | None) -> None:
    assert not is_lost(error)
