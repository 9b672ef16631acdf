"""Train any loop with durable checkpoints and exact resume: the session around a user's loop."""

import contextlib
import logging
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from spot.core.errors import PermissionDenied, SpotError
from spot.storage.base import Damaged
from spot.storage.records import lease
from spot.storage.records.lease import LeaseLost
from spot.storage.records.manifest import DataObject
from spot.trainer import main
from spot.trainer.checkpoint.manager import CheckpointManager, Saveable
from spot.trainer.context import Runtime, Start, Task
from spot.trainer.data.contract import Collate, Samples
from spot.trainer.data.loader import Loader, check_shared_memory
from spot.trainer.device import Compute
from spot.trainer.folder import Folder, Frozen
from spot.trainer.metrics import Means, parse_metrics
from spot.trainer.progress import Monitor
from spot.trainer.results.export import write_model
from spot.trainer.results.write import write_results
from spot.trainer.resume import resume
from spot.trainer.runtime.errors import Completed, StartAgain, Stopped, UsageError
from spot.trainer.runtime.flags import Precision
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.state import OWN, Stateful, TrainingState, finite, generators, set_generators

LAST_SAVE_S = 600.0
"""The longest wait for the last checkpoint of a finished training."""
LOGS_S = 5.0

_log = logging.getLogger(__name__)


class Session:
    """Save, resume and finish the training of a loop. Use as a context manager.

    `metrics` gives each metric its direction, see `METRICS` of a task; the first decides which weights are best.
    `on_metrics` is called with a step and its metrics whenever they are logged.

    Leaving the block normally completes the run. A stop, a failure, or a run that is complete already ends the
    process by `SystemExit` with the exit code of the trainer.
    """

    def __init__(
        self,
        start: Start,
        *,
        metrics: Mapping[str, str] | None = None,
        on_metrics: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> None:
        self._start = start
        self._stop = start.stop
        self._clock = start.runtime.clock
        self._metrics = parse_metrics(metrics or {})
        self._compute = Compute.choose(start.flags)
        self._monitor = Monitor(start, on_metrics)
        self._checkpointer: CheckpointManager | None = None
        self._tracked: TrainingState | None = None
        self._loaders: list[Loader] = []
        self._positions: list[tuple[int, int]] = []
        """Of the training loaders at the last step: once they differ, a step has begun."""
        self._first_step, self._began, self._carried = 0, 0.0, 0.0
        self._frozen: Frozen | None = None
        """The state that can be saved, where a framework owns the loop."""
        self._asked = 0.0
        """When the framework was told to write a checkpoint."""

    @classmethod
    def from_environment(
        cls,
        *,
        metrics: Mapping[str, str] | None = None,
        on_metrics: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> Self:
        """Return the session of this process: the start that `entry` prepared, or one from flags and environment.

        Exit with one line if a flag, data or a permission must be changed.
        """
        start = main.prepared
        if start is not None and not start.concluded:
            return cls(start, metrics=metrics, on_metrics=on_metrics)
        stop = StopSignal()
        stop.install()
        try:
            start = main.prepare(sys.argv[1:], os.environ, stop, Task(), Runtime())
            return cls(start, metrics=metrics, on_metrics=on_metrics)
        except (SpotError, Completed, Stopped) as error:
            raise SystemExit(main.conclude(main.prepared, stop, error)) from None

    def __enter__(self) -> Self:
        seed = self._start.flags.seed
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._leave(error)
        except BaseException as raised:  # it becomes the exit code
            error = raised
        else:
            error = None
        finally:
            self._start.step = self._tracked.step if self._tracked else None
            if self._checkpointer:
                self._start.durable_step = self._checkpointer.durable_step
            self._monitor.close()
        code = main.conclude(self._start, self._stop, error)
        if code or isinstance(error, Completed):
            raise SystemExit(code) from error

    @property
    def config(self) -> Any:
        """Return the `Config` of task/config.py with the values of this run."""
        return self._start.flags.config

    @property
    def data(self) -> str:
        """Return the URI of the data."""
        return self._start.flags.data

    @property
    def precision(self) -> Precision:
        """Return the precision of `autocast`, never `AUTO`."""
        return self._compute.precision

    @property
    def device(self) -> torch.device:
        return self._compute.device

    @property
    def steps(self) -> int:
        """Return the number of optimizer steps so far, over all attempts."""
        return self._state.step

    @property
    def finished(self) -> bool:
        """Return whether all steps are done, or the metric has not improved for `--patience` evaluations."""
        return self._state.finished

    @property
    def should_stop(self) -> bool:
        """Return whether this process must end: the loop is to be left without another step."""
        return self._stop.requested

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model on the device, in training mode. Build the optimizer on the returned model."""
        return model.to(self.device).train()

    def autocast(self) -> torch.autocast:
        """Return the context of forward passes in the precision of `--precision`."""
        return self._compute.autocast()

    def loader(
        self, samples: Samples, *, batch_size: int | None = None, collate: Collate | None = None, train: bool = True
    ) -> Loader:
        """Return batches of `samples` on the device. Track it if `train`: it resumes at the next batch.

        With `train` batches follow each other without end, in an order that depends on seed and epoch only. Otherwise
        each iteration is one pass in the order of the samples. `batch_size` replaces `--batch-size`.
        """
        flags = self._start.flags
        size = flags.batch_size if batch_size is None else batch_size
        loader = Loader(
            samples,
            batch_size=size,
            micro=size // flags.accumulate if batch_size is None else size,
            seed=flags.seed,
            workers=self._compute.workers,
            device=self.device,
            collate=collate,
            train=train,
            interruptible=self._waiting if train else contextlib.nullcontext,
        )
        self._loaders.append(loader)
        return loader

    def folder(self, path: str | Path) -> Folder:
        """Return the folder of a framework that owns the loop, as the Trainer of Hugging Face. Track it.

        The callback of the framework calls its `step` and `save` instead of `session.step`.
        """
        return Folder(Path(path).absolute(), self._step_of_folder, self._save_folder)

    def track(self, *, total_steps: int, objects: Iterable[DataObject] = (), **tracked: Stateful) -> None:
        """Save and restore these objects by their names, and restore the newest checkpoint now.

        The weights of `ema`, else of `model`, are the result. `objects` lists what was read: a run resumes only on the
        same data. `--max-steps` ends the run before `total_steps`. Raise `UsageError` for an object without
        `state_dict` and `load_state_dict`.
        """
        for name, value in tracked.items():
            if name in OWN:
                raise UsageError(f"session.track({name}=...): the session saves a part of this name: choose another")
            if not isinstance(value, Stateful):
                raise UsageError(
                    f"session.track({name}=...) is a {type(value).__name__} without state_dict and load_state_dict:"
                    " give it both, or do not track it"
                )
        flags = self._start.flags
        total_steps = min(total_steps, flags.max_steps or total_steps)
        with self._stop.interruptible():
            state = TrainingState(tracked, total_steps=total_steps, patience=flags.patience, metrics=self._metrics)
            if self._start.saving:
                self._checkpointer = resume(self._start, self._start.saving, state, self._compute, tuple(objects))
                if self._checkpointer is None:
                    self._start.done = True
                    raise Completed
            check_shared_memory(*self._loaders)
            self._tracked = state
        for name, value in tracked.items():
            if isinstance(value, Folder):
                self._frozen = Frozen.of(state, name)
        self._first_step, self._began, self._carried = state.step, self._clock.monotonic(), state.compute_seconds
        self._positions = self._training_positions()
        self._monitor.begin(state, [loader for loader in self._loaders if loader.train])

    def step(self, metrics: Mapping[str, float | Tensor] | None = None, *, leave: bool = True) -> None:
        """Count an optimizer step, and save if it is due. Call it once after each optimizer step.

        `metrics` are logged from time to time; a tensor is read only then. On a stop, raise `Stopped`, which saves and
        leaves the block; with `leave` False save and return, for a loop that looks at `should_stop`.
        """
        self._count(metrics or {})
        if checkpointer := self._checkpointer:
            self._hand_over(checkpointer)
            if checkpointer.due():
                checkpointer.save(self._saveable)
                self._monitor.copy(checkpointer)
        if self._stop.requested and not leave:
            self._save_and_leave()
        elif leave:
            self._stop.check()

    def log(self, metrics: Mapping[str, float]) -> None:
        """Log metrics of this step that are no means over samples, as an F1 score."""
        self._monitor.log(self._state.step, metrics)

    def evaluate(self, step: Callable[[Any], Mapping[str, Any]], loader: Iterable[Any]) -> dict[str, float]:
        """Return the metrics of one pass over `loader`, once per step.

        `step` returns for each name one value per sample, shape (B,), or a pair of values and weights. Call it at the
        top of the loop: a start that resumes at this step repeats an evaluation that was interrupted. It changes no
        training state, and runs in evaluation mode without gradients. Raise `UsageError` for other values.
        """
        state = self._state
        if state.counters.evaluated_step == state.step and state.counters.history:
            return dict(state.newest)
        started = self._clock.monotonic()
        modes = [(module, module.training) for top in state.modules for module in top.modules()]
        before, means = generators(), Means(self._metrics)
        try:
            with self._waiting(), torch.no_grad():
                for module in state.modules:
                    module.eval()
                for batch in loader:
                    with self.autocast():
                        values = step(batch)
                    means.add(values)
                found = means.results()
        finally:
            for module, mode in modes:
                module.training = mode
            set_generators(before)
        improved = state.evaluated(found, self._clock.monotonic() - started)
        self._measure()
        self._monitor.evaluated(state)
        if self._checkpointer and improved and not self._checkpointer.busy:
            self._checkpointer.save(self._saveable)
        return found

    @contextlib.contextmanager
    def export(self) -> Iterator[Path]:
        """Yield an empty folder for the result, with the shipped weights in the model, and complete the run after it.

        The shipped weights are those of the last step, with `--patience` those of the best evaluation. Write the files
        that whoever uses the model needs. A run without an export gets the weights of the model and its configuration.
        """
        self._save_last()
        state, flags, clock = self._state, self._start.flags, self._clock
        ended = clock.monotonic()
        with self._stop.interruptible(), tempfile.TemporaryDirectory(prefix="export-") as folder:
            state.load_shipped()
            yield Path(folder)
            if self._checkpointer:
                self._monitor.copy(self._checkpointer, last=True)
            shipped, counters = finite(state.shipped), state.counters
            first = self._metrics[0].name if self._metrics else None
            metrics = {
                "steps": state.step,
                "total_steps": state.total_steps,
                "metric": first,
                "shipped": shipped,
                "best": {"step": counters.best_step, first: counters.best} if first else {},
                "samples_digest": [loader.order_digest for loader in self._loaders if loader.train],
                "history": [finite(entry) for entry in counters.history],
            }
            facts = {
                "attempt": flags.attempt,
                "start": self._start.saving.start if self._start.saving else None,
                "steps": state.step,
                "compute_seconds": round(state.compute_seconds, 3),
                "metrics": shipped,
            }
            write_results(
                self._start.outputs,
                flags.run,
                Path(folder),
                metrics,
                facts,
                clock=clock,
                ended=ended,
                check_lease=self._check_lease if self._start.saving else None,
            )
            self._start.done = True
            value = f"{first} {state.shipped[first]:.4f}" if first in state.shipped else "no metric"
            _log.info("run %s is complete: %s after %d steps, %s", flags.run, value, state.step, self._where)
            if self._checkpointer:
                with contextlib.suppress(LeaseLost):  # the results are already written
                    self._checkpointer.settle(LOGS_S)

    @property
    def _where(self) -> str:
        return f"{self._start.outputs.uri}/{self._start.flags.run}"

    @property
    def _state(self) -> TrainingState:
        if self._tracked is None:
            raise UsageError(
                "the session tracks nothing: call session.track(total_steps=..., model=...) before the loop"
            )
        return self._tracked

    @property
    def _saveable(self) -> Saveable:
        return self._frozen or self._state

    def _count(self, metrics: Mapping[str, float | Tensor]) -> None:
        """Count an optimizer step, and hear from the uploader."""
        state, runtime = self._state, self._start.runtime
        state.stepped(metrics)
        self._positions = self._training_positions()
        if state.step == self._first_step + 1:
            state.check()
        runtime.on_step(state.step, state.total_steps)
        elapsed = self._measure()
        state.steps_per_second = (state.step - self._first_step) / elapsed if elapsed > 0 else 0.0
        self._monitor.stepped(state, metrics)
        if self._checkpointer:
            self._checkpointer.poll()

    def _hand_over(self, checkpointer: CheckpointManager) -> None:
        if checkpointer.wanted and not self._state.finished:
            checkpointer.hand_over(self._saveable, self._stop)

    def _step_of_folder(self, metrics: Mapping[str, float | Tensor]) -> bool:
        self._count(metrics)
        self._asked, checkpointer = self._clock.monotonic(), self._checkpointer
        due = checkpointer is not None and (checkpointer.wanted or checkpointer.due())
        return due or self._stop.requested or self._state.finished

    def _save_folder(self, folder: Folder) -> None:
        """Save this step, for which the framework has written its checkpoint. Its schedule may be faster than ours."""
        name = next((name for name, value in self._state.tracked.items() if value is folder), None)
        if name is None:
            raise UsageError("the folder of the framework is not tracked: call session.track(folder=folder, ...)")
        self._frozen = Frozen.of(self._state, name)
        waited = self._clock.monotonic() - self._asked
        if checkpointer := self._checkpointer:
            self._hand_over(checkpointer)
            if not checkpointer.busy:
                checkpointer.save(self._frozen, took_s=waited)
                self._monitor.copy(checkpointer)
        self._stop.check()

    def _leave(self, error: BaseException | None) -> None:
        """Complete the run, or save after a stop. Raise what ends this start."""
        state, checkpointer = self._tracked, self._checkpointer
        try:
            if error is not None:
                raise error
            if self._start.done:
                return
            if not self._state.finished:
                self._stop.check()
                raise UsageError(
                    f"the loop ended at step {self._state.step} of {self._state.total_steps}: train until"
                    " session.finished, or correct total_steps"
                )
            with self.export() as folder:
                if module := self._state.shipped_module:
                    write_model(folder, module, self.config, self._start.task)
        except Stopped:
            if checkpointer and not self._in_step and not self._start.done:
                self._save_and_leave()
            raise
        except LeaseLost:
            if checkpointer and state and checkpointer.durable_step == state.step:
                self._monitor.copy(checkpointer, last=True)  # no step in the logs is computed again
                checkpointer.settle(LOGS_S)
            raise
        except PermissionDenied as denied:
            if checkpointer and checkpointer.saved:  # the store accepted writes of this start
                raise StartAgain(str(denied)) from denied
            raise

    @property
    def _in_step(self) -> bool:
        return self._tracked is not None and self._training_positions() != self._positions

    def _training_positions(self) -> list[tuple[int, int]]:
        return [(loader.epoch, loader.offset) for loader in self._loaders if loader.train]

    def _waiting(self) -> contextlib.AbstractContextManager[None]:
        """Return a section in which a stop ends the wait at once: only between steps is the state complete."""
        return contextlib.nullcontext() if self._in_step else self._stop.interruptible()

    def _measure(self) -> float:
        """Update the training time, and return the seconds of this start."""
        elapsed = self._clock.monotonic() - self._began
        self._state.compute_seconds = self._carried + elapsed
        return elapsed

    def _save_and_leave(self) -> None:
        state, checkpointer, stop = self._saveable, self._checkpointer, self._stop
        if checkpointer is None:
            return
        if checkpointer.final_save(state, stop.remaining_s):
            self._monitor.copy(checkpointer, last=True)
            checkpointer.settle(min(stop.remaining_s() / 2, LOGS_S))
            _log.info("step %d: durable, exiting", state.step)
            return
        _log.error(
            "step %d: not saved within the grace of %.1f s; step %s is durable",
            state.step,
            stop.grace_s,
            checkpointer.durable_step,
        )

    def _save_last(self) -> None:
        """Make the last step durable, so that a kill in the export repeats no training."""
        if not (checkpointer := self._checkpointer):
            return
        end = self._clock.monotonic() + LAST_SAVE_S
        if not checkpointer.final_save(
            self._saveable, lambda: min(self._stop.remaining_s(), end - self._clock.monotonic())
        ):
            self._stop.check()
            raise StartAgain(f"the last checkpoint, step {self._state.step}, is not durable after {LAST_SAVE_S:.0f} s")

    def _check_lease(self) -> None:
        saving, run = self._start.saving, self._start.flags.run
        assert saving
        try:
            held = lease.read(saving.store, run)
        except Damaged as error:
            raise StartAgain(f"{error}; the next start claims the lease anew") from error
        if held and held.holder != saving.name:
            raise LeaseLost(f"process {held.holder} holds the lease of run {run}")
