"""Spread a model over the ranks: sharded (FSDP2) or replicated (DDP)."""

import logging
from typing import Any, cast

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from spot.core.format import counted
from spot.trainer.checkpoint import boxes
from spot.trainer.distributed.group import Group
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.flags import Parallel, Precision

_log = logging.getLogger(__name__)


class Replicated(DistributedDataParallel):
    """Average the gradients of all ranks. The state has the names of the plain model."""

    def state_dict(self, *args: Any, **options: Any) -> Any:
        return self.module.state_dict(*args, **options)

    def load_state_dict(self, *args: Any, **options: Any) -> Any:
        return self.module.load_state_dict(*args, **options)


def spread(model: nn.Module, kind: Parallel, precision: Precision, group: Group) -> nn.Module:
    """Return the model for training on the ranks of `group`. Raise `UsageError` if it cannot be sharded."""
    average = isinstance(model, AveragedModel)  # it has no gradients
    plain = cast(nn.Module, model.module) if average else model
    reason = _why_replicated(plain, precision)
    if reason and kind is Parallel.FSDP:
        raise UsageError(f"--parallel fsdp: {reason}: use --parallel ddp")
    sharded = kind is not Parallel.DDP and not reason
    if sharded:
        _shard(plain, group.world, reshard=True if average else None)
    if average:
        return model
    _log.info("%s on %s%s", "fsdp" if sharded else "ddp", counted(group.world, "rank"), f": {reason}" if reason else "")
    # Otherwise DDP arranges the gradients anew after the first backward pass of each process, and a resumed process
    # adds them up in another order than an uninterrupted one.
    return model if sharded else Replicated(model, find_unused_parameters=True)


def gather(model: nn.Module) -> None:
    """Put sharded weights together in main memory, on every rank. The model cannot be trained afterwards."""
    whole = dict[int, nn.Parameter]()  # tied weights stay tied
    for module in model.modules():
        if reshard := getattr(module, "reshard", None):  # a layer of FSDP may hold whole weights for the moment
            reshard()
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if boxes.is_sharded(parameter):
                if id(parameter) not in whole:
                    whole[id(parameter)] = nn.Parameter(boxes.whole(parameter.detach()).cpu(), requires_grad=False)
                module.register_parameter(name, whole[id(parameter)])


def _why_replicated(model: nn.Module, precision: Precision) -> str | None:
    """Return why a model must not be sharded, if there is a reason."""
    if precision is Precision.FP16:
        return "--precision fp16 scales gradients"
    if any(parameter.dim() == 0 for parameter in model.parameters()):
        return "the model has a parameter without dimensions"
    if any(
        isinstance(module, _BatchNorm) and module.track_running_stats and not isinstance(module, nn.SyncBatchNorm)
        for module in model.modules()
    ):
        return "the model has running statistics of batch normalization"
    return None


def _shard(model: nn.Module, world: int, *, reshard: bool | None) -> None:
    """Shard each layer of a list by itself. `reshard` after a forward pass where no backward pass follows."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(next(model.parameters()).device.type, (world,))
    for module in reversed(list(model.modules())):  # the innermost first
        if isinstance(module, nn.ModuleList):
            for layer in module:
                if not isinstance(layer, nn.ModuleList | nn.ModuleDict):  # those have no forward pass
                    fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=reshard)
