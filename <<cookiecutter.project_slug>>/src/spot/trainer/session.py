"""Train any loop with durable checkpoints and exact resume: the session around a user's loop."""

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from spot.storage.records.manifest import DataObject
from spot.trainer.checkpoint.folder import Folder
from spot.trainer.context import Start
from spot.trainer.data.contract import Collate, Samples
from spot.trainer.data.loader import Loader
from spot.trainer.distributed.generators import seed_all
from spot.trainer.engine import Engine, EvaluationStep
from spot.trainer.main import prepared
from spot.trainer.progress import OnMetrics
from spot.trainer.results.compare import HeldOut, ModelStep, check_slices
from spot.trainer.results.complete import complete
from spot.trainer.results.export import load_exported, write_model
from spot.trainer.runtime.errors import PeerLost, UsageError
from spot.trainer.runtime.flags import settled
from spot.trainer.state import Stateful


class Session:
    """Save, resume and finish the training of a loop. Use as a context manager.

    `metrics` gives each metric its direction, see `METRICS` of a task; the first decides which weights are best.
    `on_metrics` is called with a step and its metrics whenever they are logged.

    Leaving the block normally completes the run. A stop, a failure, or a run that is complete already leaves it by an
    exception that becomes the exit code of the process.
    """

    def __init__(
        self,
        start: Start,
        *,
        metrics: Mapping[str, str] | None = None,
        on_metrics: OnMetrics | None = None,
    ) -> None:
        self._start = start
        self._stop = start.stop
        self._engine = Engine(start, metrics or {}, on_metrics)
        self.config: Any = start.flags.config
        """The `Config` of task/config.py with the values of this run."""
        self.data = start.flags.data
        """The URI of the data."""
        self.batch_size = start.flags.batch_size
        """The samples of an optimizer step: `--batch-size`."""
        self.device = self._engine.compute.device
        self.precision = self._engine.compute.precision
        """The precision of `autocast`, never `AUTO`."""

    @classmethod
    def from_environment(
        cls,
        *,
        metrics: Mapping[str, str] | None = None,
        on_metrics: OnMetrics | None = None,
    ) -> Self:
        """Return the session of the start that `entry` prepared from flags and environment."""
        return cls(prepared(), metrics=metrics, on_metrics=on_metrics)

    def __enter__(self) -> Self:
        seed_all(self._start.flags.seed)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        engine = self._engine
        try:
            engine.leave(error, self._complete)
        finally:
            engine.monitor.close()

    @property
    def steps(self) -> int:
        """Return the number of optimizer steps so far, over all attempts."""
        return self._engine.state.step

    @property
    def finished(self) -> bool:
        """Return whether all steps are done, or the metric has not improved for `--patience` evaluations."""
        return self._engine.state.finished

    @property
    def should_stop(self) -> bool:
        """Return whether this process must end: the loop is to be left without another step."""
        return self._stop.requested

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model on the device, in training mode. Build the optimizer on the returned model.

        On several ranks it is sharded or replicated, as `--parallel` says. Wrap the `AveragedModel` of a model, too,
        and before it.
        """
        plain = model.module if isinstance(model, AveragedModel) else model
        plain.to(self.device).train()
        if (group := self._start.group).world == 1:
            return model
        from spot.trainer.distributed.parallel import spread

        return spread(model, self._start.flags.parallel, self.precision, group)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the context of forward passes in the precision of `--precision`."""
        return self._engine.compute.autocast()

    def loader(
        self, samples: Samples, *, batch_size: int | None = None, collate: Collate | None = None, train: bool = True
    ) -> Loader:
        """Return batches of `samples` on the device. Track it if `train`: it resumes at the next batch.

        With `train` batches follow each other without end, in an order that depends on seed and epoch only. Otherwise
        each iteration is one pass in the order of the samples. `batch_size` replaces `--batch-size`.
        """
        flags = self._start.flags
        loader = Loader(
            samples,
            batch_size=batch_size or flags.batch_size,
            micro=batch_size or flags.batch_size // flags.accumulate,
            seed=flags.seed,
            workers=self._engine.compute.workers,
            device=self.device,
            collate=collate,
            train=train,
            rank=self._start.group.rank,
            ranks=self._start.group.world,
            interruptible=self._engine.waiting if train else contextlib.nullcontext,
        )
        self._engine.loaders.append(loader)
        return loader

    def folder(self, path: str | Path) -> Folder:
        """Return the folder of a framework that owns the loop, as the Trainer of Hugging Face. Track it.

        The callback of the framework calls its `step` and `save` instead of `session.step`. Raise `UsageError` on
        several ranks: the framework must own those as well.
        """
        if (ranks := self._start.group.world) > 1:
            raise UsageError(f"session.folder() saves one rank, and there are {ranks}: use --ranks 1 and one machine")
        return Folder(Path(path).absolute(), self._engine.step_of_folder, self._engine.save_folder)

    def track(self, *, total_steps: int, objects: Iterable[DataObject] = (), **tracked: Stateful) -> None:
        """Save and restore these objects by their names, and restore the newest checkpoint now.

        The weights of `ema`, else of `model`, are the result. `objects` lists what was read: a run resumes only on the
        same data. `--max-steps` ends the run before `total_steps`. Raise `UsageError` for an object without
        `state_dict` and `load_state_dict`.
        """
        self._engine.track(tracked, total_steps, objects)

    def step(self, metrics: Mapping[str, float | Tensor] | None = None, *, leave: bool = True) -> None:
        """Count an optimizer step, and save if it is due. Call it once after each optimizer step.

        `metrics` are logged from time to time; a tensor is read only then. On a stop, raise `Stopped`, which saves and
        leaves the block; with `leave` False save and return, for a loop that looks at `should_stop`.
        """
        self._engine.stepped(metrics or {})
        self._engine.save_if_due()
        if leave:
            self._stop.check()
        elif self.should_stop:
            self._engine.saver.leave(self._engine.saveable)

    def log(self, metrics: Mapping[str, float]) -> None:
        """Log metrics of this step that are no means over samples, as an F1 score."""
        self._engine.monitor.log(self.steps, metrics)

    def evaluate(self, step: EvaluationStep, loader: Iterable[Any]) -> dict[str, float]:
        """Return the metrics of one pass over `loader`, once per step.

        `step` returns for each name one value per sample, shape (B,), or a pair of values and weights. Call it at the
        top of the loop: a start that resumes at this step repeats an evaluation that was interrupted. It changes no
        training state, and runs in evaluation mode without gradients. Raise `UsageError` for other values.
        """
        return self._engine.evaluate(step, loader)

    def compare(
        self,
        step: ModelStep,
        loader: Iterable[Any],
        *,
        slices: Sequence[str] = (),
        load: Callable[[Path], nn.Module] = load_exported,
    ) -> None:
        """Measure the result and the model in use on `loader`, once training is finished.

        `step` returns values as `evaluate` takes them, of a model and a batch. `slices` names a group for each sample:
        a model that is worse on one of them is not promoted. `load` builds a model from the folder of an export.
        Without this call no model replaces the one in use unless a person decides so.
        """
        check_slices(slices, getattr(loader, "size", None))
        self._engine.held_out = HeldOut(step=step, loader=loader, slices=slices, load=load)

    @contextlib.contextmanager
    def export(self) -> Iterator[Path]:
        """Yield an empty folder for the result, with the shipped weights in the model, and complete the run after it.

        The shipped weights are those of the last step, with `--patience` those of the best evaluation. Write the files
        that a user of the model needs. A run without an export gets the weights of the model and its configuration.
        On several ranks each rank gets a folder, and that of rank 0 is the result. Sharded weights are put together in
        the main memory of each rank; a run without an export needs them once.
        """
        with self._results() as folder:
            if self._start.group.world > 1:
                from spot.trainer.distributed.parallel import gather

                for module in self._engine.state.modules:
                    gather(module)
            yield folder

    @contextlib.contextmanager
    def _results(self) -> Iterator[Path]:
        engine, clock, group = self._engine, self._start.runtime.clock, self._start.group
        self._stop.end_votes()
        engine.saver.finish(engine.saveable)
        ended = clock.monotonic()
        with self._stop.interruptible(), tempfile.TemporaryDirectory(prefix="export-") as folder:
            engine.state.load_shipped()
            evaluation = engine.compared(self.wrap)
            yield Path(folder)
            if group.rank == 0:
                complete(
                    self._start,
                    engine.state,
                    Path(folder),
                    evaluation,
                    config=settled(self._start.flags, self.precision),
                    samples_digest=[loader.order_digest for loader in engine.training_loaders],
                    ended=ended,
                    check_lease=engine.saver.check_lease,
                )
                engine.saver.settle()
            try:
                group.gather(True)  # the other ranks wait for the results
            except PeerLost:
                if not self._start.done:
                    raise
            self._start.done = True

    def _complete(self) -> None:
        with self._results() as folder:
            if module := self._engine.state.shipped_module:
                write_model(folder, module, self.config, self._start.task, write=self._start.group.rank == 0)
