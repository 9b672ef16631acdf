"""Hold the whole training state, capture it into a checkpoint and restore it."""

import json
import math
import random
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spot.storage.base import Damaged
from spot.storage.records.manifest import Json
from spot.trainer.checkpoint import pytree
from spot.trainer.dataset import extend_digest
from spot.trainer.runtime.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Divide the run into steps. A step takes up to `step_size` samples of one epoch, in batches."""

    samples: int
    batch_size: int
    accumulate: int
    epochs: int
    max_steps: int | None

    @property
    def step_size(self) -> int:
        return self.batch_size * self.accumulate

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.samples // self.step_size)

    @property
    def total_steps(self) -> int:
        steps = self.epochs * self.steps_per_epoch
        return min(steps, self.max_steps or steps)


@dataclass(slots=True)
class Counters:
    """Count progress. `offset` counts the samples of this epoch with computed gradients, not prefetched samples."""

    step: int = 0
    epoch: int = 0
    offset: int = 0
    evaluated_step: int = 0
    best_score: float | None = None
    best_step: int = 0
    evaluations_since_best: int = 0
    order_digest: str = ""
    history: list[dict[str, float]] = field(default_factory=list)
    """One entry per evaluation."""


@dataclass(slots=True, kw_only=True, eq=False)
class TrainingState:
    """Hold model, optimizer, schedule and counters. `capture` aliases their tensors, `restore` fills them in place."""

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    scaler: GradScaler
    plan: TrainingPlan
    patience: int
    score_name: str
    counters: Counters = field(default_factory=Counters)
    best_weights: dict[str, Tensor] | None = None
    compute_seconds: float = 0.0
    steps_per_second: float = 0.0
    evaluation_seconds: float = 0.0
    longest_evaluation_seconds: float = 0.0
    loss_sum: Tensor = field(init=False)
    loss_samples: int = 0

    def __post_init__(self) -> None:
        # Summed on the device: reading a loss in each step would make the GPU wait for Python.
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=next(self.model.parameters()).device)

    @property
    def step(self) -> int:
        return self.counters.step

    @property
    def finished(self) -> bool:
        return self.step >= self.plan.total_steps or self.out_of_patience

    @property
    def out_of_patience(self) -> bool:
        return 0 < self.patience <= self.counters.evaluations_since_best

    @property
    def evaluation_due(self) -> bool:
        """Return whether an epoch or the last step has ended without an evaluation."""
        boundary = self.counters.offset == 0 or self.step >= self.plan.total_steps
        return boundary and self.counters.evaluated_step < self.step

    def consumed(self, indices: list[int], loss: Tensor) -> bool:
        """Count a batch after its backward pass, and return whether it completes the step."""
        counters, plan = self.counters, self.plan
        counters.order_digest = extend_digest(counters.order_digest, counters.epoch, indices)
        self.loss_sum += loss.detach().double() * len(indices)
        self.loss_samples += len(indices)
        counters.offset += len(indices)
        return counters.offset % plan.step_size == 0 or counters.offset >= plan.samples

    def stepped(self) -> None:
        """Count an optimizer step."""
        self.counters.step += 1
        if self.counters.offset >= self.plan.samples:
            self.counters.epoch, self.counters.offset = self.counters.epoch + 1, 0

    @property
    def evaluations_left(self) -> int:
        """Return how many evaluations follow, without an early stop."""
        plan = self.plan
        return -(-plan.total_steps // plan.steps_per_epoch) - -(-self.counters.evaluated_step // plan.steps_per_epoch)

    def evaluated(self, score: float, loss: float, seconds: float) -> bool:
        """Record an evaluation, and return whether it is the best so far."""
        counters = self.counters
        self.evaluation_seconds += seconds
        self.longest_evaluation_seconds = max(self.longest_evaluation_seconds, seconds)
        counters.history.append(
            {
                "step": counters.step,
                "epoch": counters.epoch,
                "train_loss": float(self.loss_sum) / max(self.loss_samples, 1),
                "loss": loss,
                self.score_name: score,
            }
        )
        self.loss_sum.zero_()
        self.loss_samples = 0
        counters.evaluated_step = counters.step
        best = counters.best_score
        improved = not math.isnan(score) and (best is None or score > best)
        if improved:
            counters.best_score, counters.best_step, counters.evaluations_since_best = score, counters.step, 0
            if self.patience:
                self.best_weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        else:
            counters.evaluations_since_best += 1
        return improved

    def final_weights(self) -> dict[str, Tensor]:
        """Return the weights of the last step, or with `patience` those of the best evaluation."""
        weights: dict[str, Tensor] = self.model.state_dict()
        return self.best_weights or weights

    def describe(self) -> dict[str, Json]:
        """Return the progress fields of the manifest."""
        newest = finite(self.counters.history[-1]) if self.counters.history else {}
        return {
            "step": self.step,
            "total_steps": self.plan.total_steps,
            "epoch": self.counters.epoch,
            "steps_per_second": self.steps_per_second,
            "compute_seconds": self.compute_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "longest_evaluation_seconds": self.longest_evaluation_seconds,
            "evaluations_left": self.evaluations_left,
            "metrics": newest,
            "score": newest.get(self.score_name),
        }

    def capture(self) -> tuple[dict[str, Tensor], bytes]:
        """Return tensors by name, not copied, and the rest as JSON. Equal states give equal bytes."""
        tensors: dict[str, Tensor] = {}
        rest = {name: pytree.pack(value, name, tensors) for name, value in self._parts().items()}
        return tensors, json.dumps(rest).encode()

    def restore(self, tensors: dict[str, Tensor], rest: bytes) -> None:
        """Load a captured state.

        Raise `UsageError` if it belongs to another model or optimizer, `Damaged` if it is no state.
        """
        try:
            self._restore(tensors, json.loads(rest))
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            # Other errors of torch are those of the device: they must not quarantine a good checkpoint.
            raise Damaged(f"the checkpoint holds no valid state: {error!r}") from error

    def _restore(self, tensors: dict[str, Tensor], packed: dict[str, Json]) -> None:
        own: dict[str, Tensor] = {}
        pytree.pack(self.model.state_dict(), "model", own)
        _same_shapes(own, {name: value for name, value in tensors.items() if name.startswith("model.")})
        parts = {name: pytree.unpack(value, tensors) for name, value in packed.items()}
        model, optimizer, scheduler, scaler = (parts[name] for name in ("model", "optimizer", "scheduler", "scaler"))
        try:
            self.model.load_state_dict(model)
            self.optimizer.load_state_dict(optimizer)
            self.scheduler.load_state_dict(scheduler)
            self.scaler.load_state_dict(scaler)
        except (ValueError, RuntimeError, KeyError) as error:
            raise UsageError(f"the checkpoint is of another model or optimizer: {error}; use another --run") from error
        device = next(self.model.parameters()).device
        for name, parameter in self.model.named_parameters():
            gradient = parts["gradients"].get(name)
            parameter.grad = None if gradient is None else gradient.to(device)
        self.counters = Counters(**parts["counters"])
        self.loss_sum.copy_(parts["loss"]["sum"])
        self.loss_samples = parts["loss"]["samples"]
        self.best_weights = parts["best_weights"]
        _set_generators(parts["generators"])

    def _parts(self) -> dict[str, Any]:
        between_steps = self.counters.offset % self.plan.step_size == 0
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            # Gradients of an unfinished step are state: its forward passes have advanced the generators.
            "gradients": {
                name: parameter.grad
                for name, parameter in self.model.named_parameters()
                if parameter.grad is not None and not between_steps
            },
            "counters": asdict(self.counters),
            "loss": {"sum": self.loss_sum, "samples": self.loss_samples},
            "best_weights": self.best_weights,
            "generators": _generators(),
        }


def finite(metrics: dict[str, float]) -> dict[str, float | None]:
    """Replace NaN and infinity, which JSON lacks, by None."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _generators() -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_generators(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    try:
        torch.set_rng_state(states["torch"])
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    if torch.cuda.is_available() and states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])


def _same_shapes(own: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    for name in own | saved:
        built, stored = _describe(own.get(name)), _describe(saved.get(name))
        if built != stored:
            raise UsageError(
                f"the checkpoint is of another model: {name} is {stored} in it and {built} here; use another --run"
            )


def _describe(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
