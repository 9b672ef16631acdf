"""Report metrics: a bar on a terminal, elsewhere one log line per interval; TensorBoard; the user's tracker."""

import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter
from torch import Tensor
from torch.optim import Optimizer

from spot.core.format import hours
from spot.trainer.checkpoint.manager import CheckpointManager
from spot.trainer.context import Start
from spot.trainer.data.loader import Loader
from spot.trainer.metrics import TOKENS
from spot.trainer.state import TrainingState

BAR_EVERY_S = 0.1
SCALARS_EVERY_S = 1.0

OnMetrics = Callable[[int, Mapping[str, float]], None]

_log = logging.getLogger(__name__)


class Monitor:
    """Report the metrics of a start on rank 0, at intervals: reading a tensor makes the GPU wait for Python."""

    def __init__(self, start: Start, on_metrics: OnMetrics | None) -> None:
        self._start = start
        self._clock = start.runtime.clock
        self._lead = start.group.rank == 0
        self._on_metrics = on_metrics if self._lead else None
        self._scalars: SummaryWriter | None = None
        self._loaders: Sequence[Loader] = ()
        self._bar: Any = _bar() if self._lead and sys.stdout.isatty() else None
        self._every = BAR_EVERY_S if self._bar else start.flags.log_interval
        self._next_line = self._next_scalars = 0.0
        self._first_sample, self._began = 0, 0.0

    def begin(self, state: TrainingState, loaders: Sequence[Loader]) -> None:
        """Start reporting at the step at which training starts or resumes."""
        flags, saving = self._start.flags, self._start.saving
        self._loaders = loaders
        self._began = self._next_scalars = self._clock.monotonic()
        self._next_line = self._began + self._every
        self._first_sample = self._samples()
        if self._lead and flags.tensorboard_dir:
            # A resume purges steps that an earlier start logged beyond its checkpoint. Two starts in the same second
            # need files of different names.
            suffix = f".{flags.attempt}.{saving.start if saving else 0}"
            folder = tempfile.mkdtemp(prefix="tensorboard-")
            self._scalars = SummaryWriter(folder, purge_step=state.step or None, filename_suffix=suffix)
        if self._bar:
            self._bar.start()
            _redirect_log()  # the bar replaces standard output, so that log lines appear above it
            self._bar.add_task(_newest(state), total=state.total_steps, completed=state.step)

    def close(self) -> None:
        if self._bar:
            self._bar.stop()
            _redirect_log()
        if self._scalars:
            self._scalars.close()
            shutil.rmtree(self._scalars.logdir)

    def stepped(self, state: TrainingState, metrics: Mapping[str, float | Tensor]) -> None:
        """Report the step where an interval is over."""
        now = self._clock.monotonic()
        line = now >= self._next_line or state.step >= state.total_steps
        if not self._lead or (not line and now < self._next_scalars):
            return
        values = {
            name: float(value.detach() if isinstance(value, Tensor) else value) for name, value in metrics.items()
        } | self._rates(state, metrics)
        if now >= self._next_scalars:
            self._next_scalars = now + SCALARS_EVERY_S
            self._report(state.step, {f"train/{name}": value for name, value in values.items()})
        if line:
            self._next_line = now + self._every
            self._show(state, values)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._report(step, metrics)
        _log.info("step %d: %s", step, _listed(metrics))

    def evaluated(self, state: TrainingState) -> None:
        """Report the newest evaluation."""
        values = {name: value for name, value in state.newest.items() if name != "step"}
        own = {name: value for name, value in values.items() if not name.startswith("train_")}
        self._report(state.step, {f"held_out/{name}": value for name, value in own.items()})
        if not self._bar:
            _log.info("step %d: evaluated, %s", state.step, _listed(values))

    def copy(self, checkpointer: CheckpointManager, *, last: bool = False) -> None:
        """Let the uploader copy the scalars. Report no value after the `last` copy."""
        flags = self._start.flags
        if self._scalars is None or flags.tensorboard_dir is None:
            return
        if last:
            self._scalars.close()  # unlike flush, close waits for the writer's queue
        else:
            self._scalars.flush()
        for path in Path(self._scalars.logdir).iterdir():
            checkpointer.mirror(str(path), flags.tensorboard_dir, f"{flags.run}/{path.name}")

    def _report(self, step: int, values: Mapping[str, float]) -> None:
        if self._scalars:
            for name, value in values.items():
                self._scalars.add_scalar(name, value, step)
        if self._on_metrics:
            try:
                self._on_metrics(step, values)
            except Exception:
                _log.exception("step %d: on_metrics failed, and is not called again", step)
                self._on_metrics = None

    def _show(self, state: TrainingState, values: Mapping[str, float]) -> None:
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=state.step, description=_newest(state))
            return
        rate = state.steps_per_second
        _log.info(
            "step %d of %d (%.0f %%), %s, %s left, %s",
            state.step,
            state.total_steps,
            100 * state.step / state.total_steps,
            _listed(values),
            hours(timedelta(seconds=(state.total_steps - state.step) / rate if rate else 0.0)),
            _newest(state),
        )

    def _rates(self, state: TrainingState, metrics: Mapping[str, float | Tensor]) -> dict[str, float]:
        elapsed = self._clock.monotonic() - self._began
        rates = {"steps_per_second": state.steps_per_second}
        if self._loaders and elapsed > 0:
            rates["samples_per_second"] = (self._samples() - self._first_sample) / elapsed
        if TOKENS in metrics:
            rates["tokens_per_second"] = float(metrics[TOKENS]) * self._start.group.world * state.steps_per_second
        for tracked in state.tracked.values():
            if isinstance(tracked, Optimizer):
                rates["learning_rate"] = float(tracked.param_groups[0]["lr"])
                break
        return rates

    def _samples(self) -> int:
        return sum(loader.epoch * loader.size + loader.offset for loader in self._loaders)


def _listed(values: Mapping[str, float]) -> str:
    rates = {name: name.removesuffix("_per_second") for name in values if name.endswith("_per_second")}
    return ", ".join(
        f"{value:.3g} {rates[name]}/s" if name in rates else f"{name} {value:.4g}" for name, value in values.items()
    )


def _newest(state: TrainingState) -> str:
    if not state.metrics:
        return "no metric"
    name, counters = state.metrics[0].name, state.counters
    if not state.newest:
        return f"{name} unknown before the first evaluation"
    best = "none" if counters.best is None else f"{counters.best:.4f} at step {counters.best_step}"
    return f"{name} {state.newest[name]:.4f} (best {best})"


def _redirect_log() -> None:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stdout)


def _bar() -> Any:
    from rich.progress import MofNCompleteColumn, Progress

    return Progress(*Progress.get_default_columns(), MofNCompleteColumn())
