"""Test that models of any form can be sharded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch.distributed as dist
from torch import nn
from torch._C._distributed_c10d import HashStore
from torch.distributed.tensor import DTensor

from spot.trainer.distributed.group import ALONE
from spot.trainer.distributed.parallel import spread
from spot.trainer.runtime.flags import Parallel, Precision


@pytest.fixture
def alone() -> Iterator[None]:
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Nested(nn.Module):
    """Hold layers in a dictionary and a list in a list, which have no forward pass."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.ModuleDict({"up": nn.Linear(2, 4), "more": nn.ModuleList([nn.Linear(4, 2)])}), nn.Linear(2, 2)]
        self.layers = nn.ModuleList([nn.ModuleList(layers)])


@pytest.mark.usefixtures("alone")
def test_layers_in_nested_containers_are_sharded() -> None:
    model = spread(Nested(), Parallel.FSDP, Precision.FULL, ALONE)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
