"""Spread a model over the ranks: sharded (FSDP2) or replicated (DDP)."""

import logging
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

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
    if isinstance(model, AveragedModel):  # has no gradients
        if _choose(model.module, kind, precision) is Parallel.FSDP:
            _shard(model.module, reshard=True)
        return model
    chosen = _choose(model, kind, precision)
    _log.info("%s on %d ranks", chosen, group.world)
    if chosen is Parallel.FSDP:
        _shard(model)
        return model
    # Otherwise DDP arranges the gradients anew after the first backward pass of each process, and a resumed process
    # adds them up in another order than an uninterrupted one.
    return Replicated(model, find_unused_parameters=True)


def _choose(model: nn.Module, kind: Parallel, precision: Precision) -> Parallel:
    """Return `fsdp` where it computes the same as a single rank, else `ddp`."""
    reason = None
    if precision is Precision.FP16:
        reason = "--precision fp16 scales gradients"
    elif any(parameter.dim() == 0 for parameter in model.parameters()):
        reason = "the model has a parameter without dimensions"
    elif any(
        isinstance(module, _BatchNorm) and module.track_running_stats and not isinstance(module, nn.SyncBatchNorm)
        for module in model.modules()
    ):
        reason = "the model has running statistics of batch normalization"
    if kind is Parallel.DDP or not reason:
        return Parallel.DDP if kind is Parallel.DDP else Parallel.FSDP
    if kind is Parallel.FSDP:
        raise UsageError(f"--parallel fsdp: {reason}: use --parallel ddp")
    _log.info("ddp instead of fsdp: %s", reason)
    return Parallel.DDP


def _shard(model: nn.Module, *, reshard: bool | None = None) -> None:
    """Shard each layer of a list by itself. `reshard` after a forward pass where no backward pass follows."""
    from torch.distributed.fsdp import fully_shard

    for module in reversed(list(model.modules())):  # the innermost first
        if isinstance(module, nn.ModuleList):
            for layer in module:
                if not isinstance(layer, nn.ModuleList | nn.ModuleDict):  # those have no forward pass
                    fully_shard(layer)
    fully_shard(model, reshard_after_forward=reshard)
