"""Train a task of `build`, `training_step` and `evaluation_step`: the default loop, to be read top to bottom."""

import importlib
from collections.abc import Mapping
from typing import cast

from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spot.trainer.data.contract import Data, TaskData, TaskModel
from spot.trainer.main import prepared
from spot.trainer.metrics import TOKENS
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.flags import Flags, Precision
from spot.trainer.session import Session
from spot.trainer.state import Stateful

NEEDED = ("METRICS", "build", "build_optimizer", "training_step", "evaluation_step")


def main() -> None:
    """Train the task that `entry` named."""
    start = prepared()
    assert start.task.model
    assert start.task.data
    model, data = (importlib.import_module(name) for name in (start.task.model, start.task.data))
    for module, names in ((model, NEEDED), (data, ("load",))):
        if missing := [name for name in names if not getattr(module, name, None)]:
            raise UsageError(f"{module.__name__} has no {missing[0]}: docs/bring-your-model.md shows each part")
    with Session(start, metrics=model.METRICS, on_metrics=getattr(model, "on_metrics", None)) as session:
        train(session, cast(TaskModel, model), cast(TaskData, data).load(session.config, session.data), start.flags)


def train(session: Session, task: TaskModel, data: Data, flags: Flags) -> None:
    """Train to the end. A resume continues after the last step of the checkpoint."""
    batches = session.loader(data.train, collate=data.collate)
    held_out = session.loader(data.held_out, collate=data.collate, train=False)
    judging = held_out if data.test is None else session.loader(data.test, collate=data.collate, train=False)
    session.compare(task.evaluation_step, judging, slices=data.slices)
    total_steps = flags.epochs * batches.steps_per_epoch
    total_steps = min(total_steps, flags.max_steps or total_steps)

    built = task.build(session.config)
    ema = None
    if flags.ema:
        average = get_ema_multi_avg_fn(flags.ema)  # type: ignore[no-untyped-call]
        ema = AveragedModel(built, multi_avg_fn=average, use_buffers=True)
        session.wrap(ema)
    model = session.wrap(built)
    optimizer, scheduler = task.build_optimizer(model, session.config, total_steps)
    scaler = GradScaler(session.device.type, enabled=session.precision is Precision.FP16)
    tracked: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
    if ema:
        tracked["ema"] = ema
    session.track(total_steps=total_steps, objects=data.objects, loader=batches, **tracked)

    every, judged = flags.evaluate_every or batches.steps_per_epoch, ema.module if ema else model
    loaded = iter(batches)
    while True:
        if session.steps and (session.steps % every == 0 or session.steps == total_steps):
            session.evaluate(lambda batch: task.evaluation_step(judged, batch), held_out)
        if session.finished:
            return
        metrics: dict[str, Tensor] = {}
        while not metrics or not batches.step_ended:
            batch = next(loaded)
            with session.autocast():
                losses = _losses(task.training_step(model, batch))
            # Every sample of the step has equal weight, also when its last batch is short.
            share = batches.count / batches.step_count
            scaler.scale(_weighed(_sum(losses), share)).backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                weighed = _weighed(value.detach(), 1 if name == TOKENS else share)
                metrics[name] = metrics[name] + weighed if name in metrics else weighed
        if flags.clip_norm:
            scaler.unscale_(optimizer)
            clip_grad_norm_(model.parameters(), flags.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        scheduler.step()
        if ema:
            ema.update_parameters(model)
        session.step(metrics)


def _losses(returned: Tensor | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    losses = {"loss": returned} if isinstance(returned, Tensor) else returned
    if not isinstance(losses, Mapping) or not set(losses) - {TOKENS}:
        raise UsageError(f"training_step returned {type(returned).__name__}: return a loss, or a dict of losses")
    for name, value in losses.items():
        if not isinstance(value, Tensor) or value.dim():
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(f"training_step returned {name} as {shape}: return the mean over the batch, one number")
    return losses


def _sum(losses: Mapping[str, Tensor]) -> Tensor:
    first, *others = (value for name, value in losses.items() if name != TOKENS)
    return sum(others, first)


def _weighed(value: Tensor, share: float) -> Tensor:
    return value if share == 1 else value * share  # an operation more costs 1 % of a short step
