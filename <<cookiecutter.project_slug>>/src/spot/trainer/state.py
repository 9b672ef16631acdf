"""Hold the whole training state, capture it into a checkpoint and restore it."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from spot.core.format import counted
from spot.storage.base import Damaged
from spot.storage.records.manifest import Json
from spot.trainer.checkpoint import pytree, serialize
from spot.trainer.data.loader import Loader
from spot.trainer.distributed.generators import generators, set_generators
from spot.trainer.distributed.group import ALONE, Group
from spot.trainer.metrics import TOKENS, Metric
from spot.trainer.runtime.errors import UsageError

OWN = ("session", "generators", "best_weights")
"""Parts of a checkpoint that the session adds to what the user tracks."""
EACH_RANK = ("session", "generators")
"""Those that differ between ranks."""


@runtime_checkable
class Stateful(Protocol):
    """Define what can be tracked."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


@dataclass(slots=True)
class Counters:
    """Count progress."""

    step: int = 0
    evaluated_step: int = 0
    best: float | None = None
    """The first metric at `best_step`."""
    best_step: int = 0
    evaluations_since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    """One entry per evaluation."""
    reseeded_at: list[int] = field(default_factory=list)
    """Steps at which a start resumed on another number of ranks: its random numbers are others."""


class TrainingState:
    """Hold what is tracked, and counters. `capture` aliases the tensors, `restore` fills them in place.

    With `patience` the weights of the best evaluation are part of the state. The ranks of `group` hold the same state,
    except for generators, the sums of losses, and loaders that are not the session's.
    """

    def __init__(
        self,
        tracked: Mapping[str, Stateful],
        *,
        total_steps: int,
        patience: int,
        metrics: tuple[Metric, ...],
        group: Group = ALONE,
    ) -> None:
        self.tracked = dict(tracked)
        self._group = group
        self.total_steps = total_steps
        self.metrics = metrics
        self.counters = Counters()
        self.compute_seconds = 0.0
        self.steps_per_second = 0.0
        self.evaluation_seconds = 0.0
        self.longest_evaluation_seconds = 0.0
        self._patience = patience
        self._best_weights: dict[str, Tensor] | None = None
        # Summed on the device: reading a loss in each step would make the GPU wait for Python.
        self._sums: dict[str, Tensor] = {}
        self._summed = 0

    @property
    def step(self) -> int:
        return self.counters.step

    @property
    def finished(self) -> bool:
        return self.step >= self.total_steps or 0 < self._patience <= self.counters.evaluations_since_best

    @property
    def newest(self) -> dict[str, float]:
        """Return the newest evaluation, empty before the first."""
        return self.counters.history[-1] if self.counters.history else {}

    @property
    def modules(self) -> list[nn.Module]:
        return [value for value in self.tracked.values() if isinstance(value, nn.Module)]

    @property
    def shipped_module(self) -> nn.Module | None:
        """Return the module whose weights are the result: `ema` if it is tracked, else `model`."""
        found = self.tracked.get("ema", self.tracked.get("model"))
        if isinstance(found, AveragedModel):
            return found.module
        return found if isinstance(found, nn.Module) else None

    @property
    def shipped(self) -> dict[str, float]:
        """Return the evaluation of the shipped weights."""
        step = self.counters.best_step if self._best_weights else self.step
        return next((entry for entry in reversed(self.counters.history) if entry["step"] == step), {})

    def stepped(self, metrics: Mapping[str, float | Tensor]) -> None:
        """Count an optimizer step."""
        self.counters.step += 1
        for name, value in metrics.items():
            if name == TOKENS:
                continue
            if name not in self._sums:
                self._sums[name] = torch.zeros((), dtype=torch.float64)
            if isinstance(value, Tensor):
                self._sums[name] = self._sums[name].to(value.device)
            self._sums[name].add_(value.detach() if isinstance(value, Tensor) else value)
        self._summed += 1

    def evaluated(self, values: Mapping[str, float], seconds: float) -> bool:
        """Record an evaluation, and return whether it is the best so far."""
        counters = self.counters
        self.evaluation_seconds += seconds
        self.longest_evaluation_seconds = max(self.longest_evaluation_seconds, seconds)
        every = self._group.gather({name: float(total) / self._summed for name, total in self._sums.items()})
        means = {f"train_{name}": sum(one[name] for one in every) / len(every) for name in self._sums}
        counters.history.append({"step": counters.step, **means, **values})
        self._sums, self._summed, counters.evaluated_step = {}, 0, counters.step
        if not self.metrics:
            return False
        decisive = self.metrics[0]
        value = values[decisive.name]
        improved = not math.isnan(value) and (
            counters.best is None or decisive.gain(value) > decisive.gain(counters.best)
        )
        if improved:
            counters.best, counters.best_step, counters.evaluations_since_best = value, counters.step, 0
            module = self.shipped_module
            if self._patience and module is not None:
                self._best_weights = {name: value.detach().clone() for name, value in module.state_dict().items()}
        else:
            counters.evaluations_since_best += 1
        return improved

    def load_shipped(self) -> None:
        """Put the shipped weights into their module. Training cannot go on afterwards."""
        if self._best_weights and (module := self.shipped_module):
            module.load_state_dict(self._best_weights)

    def describe(self) -> dict[str, Json]:
        """Return the progress fields of the manifest."""
        newest = finite(self.newest)
        value = newest.get(self.metrics[0].name) if self.metrics else None
        return {
            "step": self.step,
            "total_steps": self.total_steps,
            "epoch": max((getattr(found, "epoch", 0) for found in self.tracked.values()), default=0),
            "steps_per_second": self.steps_per_second,
            "compute_seconds": self.compute_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "longest_evaluation_seconds": self.longest_evaluation_seconds,
            "evaluations_left": self._evaluations_left,
            "metrics": newest,
            "score": None if value is None else self.metrics[0].gain(value),
        }

    @property
    def _evaluations_left(self) -> int:
        """Return how many evaluations follow at the present distance, without an early stop."""
        if not self.counters.history:
            return 1
        distance = max(1, self.counters.evaluated_step // len(self.counters.history))
        return -(-(self.total_steps - self.counters.evaluated_step) // distance)

    @property
    def buffers(self) -> frozenset[str]:
        """Return the names of the buffers of the modules: each rank updates its own, and those of rank 0 count."""
        return frozenset(
            f"{name}.{key}"
            for name, module in self.tracked.items()
            if isinstance(module, nn.Module)
            for key, value in module.state_dict(keep_vars=True).items()
            if not isinstance(value, nn.Parameter)
        )

    def capture(self) -> tuple[dict[str, Tensor], bytes]:
        """Return tensors by name, not copied, and the rest as JSON. Equal states give equal bytes.

        The rest of a rank other than 0 is only what belongs to that rank.
        """
        tensors: dict[str, Tensor] = {}
        own = {
            "session": {"counters": asdict(self.counters), "sums": self._sums, "summed": self._summed},
            "generators": generators(),
            "best_weights": self._best_weights,
        }
        parts = own | {name: found.state_dict() for name, found in self.tracked.items()}
        rank = self._group.rank
        rest = {
            name: pytree.pack(value, f"rank{rank}.{name}" if self._differs(name) else name, tensors)
            for name, value in parts.items()
        }
        return tensors, json.dumps({name: rest[name] for name in rest if not rank or self._differs(name)}).encode()

    def _differs(self, name: str) -> bool:
        """Return whether the ranks have different values of a part."""
        found = self.tracked.get(name)
        return name in EACH_RANK or (isinstance(found, Iterable) and not isinstance(found, Loader | nn.Module))

    def check(self) -> None:
        """Raise `UsageError` if a checkpoint cannot hold a value of the state."""
        try:
            serialize.check(self.capture()[0])
        except TypeError as error:
            raise UsageError(f"the state cannot be saved: {error}") from error

    def restore(self, tensors: dict[str, Tensor], rest: bytes, own: bytes = b"{}", world: int | None = None) -> None:
        """Load a captured state: the rest of rank 0, that of this rank, and the number of ranks if it was another.

        Raise `UsageError` if it belongs to other objects than are tracked, `Damaged` if it is no state.
        """
        try:
            self._restore(tensors, json.loads(rest) | json.loads(own), world or self._group.world)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            # Other errors of torch are those of the device: they must not quarantine a good checkpoint.
            raise Damaged(f"the checkpoint holds no valid state: {error!r}") from error

    def _restore(self, tensors: dict[str, Tensor], packed: dict[str, Json], world: int) -> None:
        saved = sorted(packed.keys() - set(OWN))
        if len(saved) + len(OWN) != len(packed):
            raise KeyError(f"one of {', '.join(OWN)}")
        if saved != sorted(self.tracked):
            raise UsageError(
                f"the checkpoint holds {', '.join(saved)}, and this start tracks {', '.join(sorted(self.tracked))}:"
                " track the same, or use another --run"
            )
        resized = world != self._group.world
        for name in saved:
            if resized and self._differs(name):
                raise UsageError(
                    f"the position of {name} was saved by {counted(world, 'rank')}, and there are {self._group.world}:"
                    " use the same number of machines and GPUs, or a loader of the session"
                )
        parts = {name: pytree.unpack(value, tensors) for name, value in packed.items()}
        for name, module in self.tracked.items():
            if isinstance(module, nn.Module) and (
                difference := pytree.difference(_tensors(module.state_dict()), _tensors(parts[name]))
            ):
                raise UsageError(f"the checkpoint is of another model: {name}.{difference}; use another --run")
        for name, found in self.tracked.items():
            try:
                found.load_state_dict(parts[name])
            except (ValueError, RuntimeError, KeyError) as error:
                raise UsageError(f"the checkpoint is of another {name}: {error}; use another --run") from error
        session = parts["session"]
        self.counters = Counters(**session["counters"])
        ranks = range(world) if resized else [self._group.rank]
        self._sums = {
            name: torch.stack([tensors[f"rank{rank}.session.sums.{name}"] for rank in ranks]).mean(0)
            for name in {**session["sums"]}
        }
        self._summed = session["summed"]
        self._best_weights = parts["best_weights"]
        if resized:
            self.counters.reseeded_at.append(self.step)
        else:
            set_generators(parts["generators"])


def finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Replace NaN and infinity, which JSON lacks, by None."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _tensors(state: Any) -> dict[str, Tensor]:
    if not isinstance(state, dict):
        raise TypeError(f"the state of a module is a {type(state).__name__}")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
