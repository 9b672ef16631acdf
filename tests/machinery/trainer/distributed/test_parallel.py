"""Test that models of any form can be sharded."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch._C._distributed_c10d import HashStore
from torch.distributed.tensor import DTensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spot.trainer.checkpoint.boxes import whole
from spot.trainer.distributed.group import ALONE
from spot.trainer.distributed.parallel import Replicated, spread
from spot.trainer.runtime.errors import UsageError
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


class Scaled(nn.Module):
    """Hold one parameter without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))


@pytest.mark.usefixtures("alone")
def test_layers_in_nested_containers_are_sharded() -> None:
    model = spread(Nested(), Parallel.FSDP, Precision.FULL, ALONE)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("model", "precision", "reason"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), Precision.FULL, "running statistics"),
        (nn.Linear(2, 2), Precision.FP16, "fp16 scales gradients"),
        (Scaled(), Precision.FULL, "a parameter without dimensions"),
    ],
)
def test_a_model_that_cannot_be_sharded_is_replicated_with_plain_names(
    model: nn.Module, precision: Precision, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    names = list(model.state_dict())
    found = spread(model, Parallel.AUTO, precision, ALONE)
    assert isinstance(found, Replicated)
    assert list(found.state_dict()) == names
    assert re.search(rf"ddp on 1 rank: .*{reason}", caplog.text)
    with pytest.raises(UsageError, match=rf"--parallel fsdp: .*{reason}.*: use --parallel ddp"):
        spread(model, Parallel.FSDP, precision, ALONE)


@pytest.mark.usefixtures("alone")
def test_an_average_of_a_sharded_model_follows_it_after_an_evaluation() -> None:
    plain = nn.Linear(3, 2)
    average = AveragedModel(plain, multi_avg_fn=get_ema_multi_avg_fn(0.5))  # type: ignore[no-untyped-call]
    spread(average, Parallel.AUTO, Precision.FULL, ALONE)
    model = spread(plain, Parallel.AUTO, Precision.FULL, ALONE)
    with torch.no_grad():
        average(torch.ones(1, 3))
        for parameter in model.parameters():
            parameter.add_(1.0)
    average.update_parameters(model)
    average.update_parameters(model)
    for averaged, parameter in zip(average.module.parameters(), model.parameters(), strict=True):
        assert torch.equal(whole(averaged), whole(parameter))
