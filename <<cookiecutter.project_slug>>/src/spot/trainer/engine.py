"""Run the training of one session: count steps, evaluate, save when it is due, and end as the run asks."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spot.core.errors import PermissionDenied
from spot.core.evaluation import Evaluation
from spot.storage.records.lease import LeaseLost
from spot.storage.records.manifest import DataObject
from spot.trainer.checkpoint import boxes
from spot.trainer.checkpoint.folder import Folder, Frozen
from spot.trainer.checkpoint.manager import Saveable
from spot.trainer.context import Start
from spot.trainer.data.loader import Loader, check_shared_memory
from spot.trainer.device import Compute
from spot.trainer.distributed.ballot import Ballot
from spot.trainer.distributed.generators import generators, seed_rank, set_generators
from spot.trainer.metrics import means, parse_metrics, per_sample
from spot.trainer.progress import Monitor, OnMetrics
from spot.trainer.results.compare import HeldOut, ModelStep, Values, evaluation
from spot.trainer.runtime.errors import StartAgain, Stopped, UsageError
from spot.trainer.saver import Saver
from spot.trainer.state import OWN, Stateful, TrainingState

EvaluationStep = Callable[[Any], Mapping[str, Any]]


class Engine:
    """Hold what a session works with. Call only `track` before it."""

    def __init__(self, start: Start, metrics: Mapping[str, str], on_metrics: OnMetrics | None) -> None:
        self.compute = Compute.choose(start.flags, start.group.local_world)
        self.monitor = Monitor(start, on_metrics)
        self.saver = Saver(start, self.monitor)
        self.loaders: list[Loader] = []
        self.held_out: HeldOut | None = None
        self._start = start
        self._stop = start.stop
        self._clock = start.runtime.clock
        self._ballot = Ballot(start.group, start.stop, start.runtime.clock)
        self.metrics = parse_metrics(metrics)
        if start.flags.patience and not self.metrics:
            raise UsageError(f"--patience {start.flags.patience} needs a metric: name it in metrics= of the session")
        self._state: TrainingState | None = None
        self._positions: list[tuple[int, int]] = []
        """Of the training loaders at the last step: once they differ, a step has begun."""
        self._first_step, self._began, self._carried = 0, 0.0, 0.0
        self._frozen: Frozen | None = None
        """The state that can be saved, where a framework owns the loop."""
        self._asked = 0.0
        """When the framework was told to write a checkpoint."""

    @property
    def state(self) -> TrainingState:
        if self._state is None:
            raise UsageError(
                "the session tracks nothing: call session.track(total_steps=..., model=...) before the loop"
            )
        return self._state

    @property
    def saveable(self) -> Saveable:
        return self._frozen or self.state

    @property
    def training_loaders(self) -> list[Loader]:
        return [loader for loader in self.loaders if loader.train]

    def track(self, tracked: Mapping[str, Stateful], total_steps: int, objects: Iterable[DataObject]) -> None:
        """Build the state of these objects, and restore the newest checkpoint."""
        for name, value in tracked.items():
            if name in OWN or re.fullmatch(r"rank\d+", name):
                raise UsageError(f"session.track({name}=...): the session saves a part of this name: choose another")
            if not isinstance(value, Stateful):
                raise UsageError(
                    f"session.track({name}=...) is a {type(value).__name__} without state_dict and load_state_dict:"
                    " give it both, or do not track it"
                )
        flags, group = self._start.flags, self._start.group
        with self._stop.interruptible():
            state = TrainingState(
                tracked,
                total_steps=min(total_steps, flags.max_steps or total_steps),
                patience=flags.patience,
                metrics=self.metrics,
                group=group,
            )
            check_shared_memory(*self.loaders, processes=group.local_world)
            if group.world > 1:  # until here all ranks built the same
                seed_rank(flags.seed, 0, group.rank)
            self.saver.restore(state, self.compute, objects)
            self._state = state
        for name, value in tracked.items():
            if isinstance(value, Folder):
                self._frozen = Frozen.of(state, name)
        self._first_step, self._began, self._carried = state.step, self._clock.monotonic(), state.compute_seconds
        self._positions = self._training_positions()
        self.monitor.begin(state, self.training_loaders)
        self._ballot.begin(state.step)

    def stepped(self, metrics: Mapping[str, float | Tensor]) -> None:
        """Count an optimizer step, and hear from the uploader."""
        state, runtime = self.state, self._start.runtime
        metrics = {name: boxes.whole(value) for name, value in metrics.items()}
        state.stepped(metrics)
        self._positions = self._training_positions()
        if state.step == self._first_step + 1:
            state.check()
        runtime.on_step(state.step, state.total_steps)
        elapsed = self._measure()
        state.steps_per_second = (state.step - self._first_step) / elapsed if elapsed > 0 else 0.0
        self.monitor.stepped(state, metrics)
        self.saver.poll()

    def save_if_due(self) -> None:
        finished = self.state.finished
        wishes = self._ballot.at_step(self.state.step, self.saver.wishes, last=finished)
        self.saver.save(self.saveable, wishes, finished=finished)

    def evaluate(self, step: EvaluationStep, loader: Iterable[Any]) -> dict[str, float]:
        """Return the metrics of one pass, once per step; see `Session.evaluate`."""
        state = self.state
        if state.counters.evaluated_step == state.step and state.counters.history:
            return dict(state.newest)
        if self._in_step:
            raise UsageError(
                f"session.evaluate was called at step {state.step} after the next batch was taken: evaluate at the top"
                " of the loop, before the first batch of a step"
            )
        started = self._clock.monotonic()
        with _evaluating(state.modules), self._stop.interruptible():
            samples = self._samples(step, loader, self._ballot.check)
            found: dict[str, float] = self._start.group.broadcast(means(samples, self.metrics))
        improved = state.evaluated(found, self._clock.monotonic() - started)
        self._measure()
        self.monitor.evaluated(state)
        if improved:
            wishes = self._ballot.cast(self.saver.wishes(if_due=False))
            self.saver.save(self.saveable, wishes, finished=state.finished)
        return found

    def compared(self, wrap: Callable[[nn.Module], nn.Module]) -> Evaluation | None:
        """Return the measurements of the shipped weights and of the champion. Call it after the last step."""
        flags, module = self._start.flags, self.state.shipped_module
        if self.held_out is None or module is None or not self.metrics:
            return None
        given = (flags.run, self.metrics, self.held_out, flags.champion, module)
        return evaluation(*given, wrap=wrap, measure=self._measured, group=self._start.group)

    def _measured(self, model: nn.Module, step: ModelStep, loader: Iterable[Any]) -> Values:
        """Return values and weights of each sample, the same in each repetition."""
        with _evaluating([model]):
            seed_rank(self._start.flags.seed, 0, self._start.group.rank)
            samples = self._samples(partial(step, model), loader)
        return {name: found.tolist() for name, found in samples.items()}

    def _samples(
        self, step: EvaluationStep, loader: Iterable[Any], check: Callable[[], None] = lambda: None
    ) -> dict[str, Tensor]:
        """Return values and weights of all samples by name, shape (2, samples). Call `check` before each batch."""
        batches: dict[str, list[Tensor]] = {}
        for batch in loader:
            check()
            with self.compute.autocast():
                values = step(batch)
            for name, found in per_sample(values, self._start.group, self._divided()).items():
                batches.setdefault(name, []).append(found)
        return {name: torch.cat(found, dim=1) for name, found in batches.items()}

    def _divided(self) -> int | None:
        """Return the samples of the batch that a loader has just divided among the ranks."""
        for loader in self.loaders if self._start.group.world > 1 else ():
            if loader.fresh:
                loader.fresh = False
                return loader.count
        return None

    def step_of_folder(self, metrics: Mapping[str, float | Tensor]) -> bool:
        """Count a step of a framework, and return whether it must write a checkpoint."""
        self.stepped(metrics)
        self._asked = self._clock.monotonic()
        return bool(self.saver.wishes()) or self._stop.requested or self.state.finished

    def save_folder(self, folder: Folder) -> None:
        """Save this step, for which the framework has written its checkpoint. Its schedule may be faster than ours."""
        name = next((name for name, value in self.state.tracked.items() if value is folder), None)
        if name is None:
            raise UsageError("the folder of the framework is not tracked: call session.track(folder=folder, ...)")
        self._frozen = Frozen.of(self.state, name)
        waited = self._clock.monotonic() - self._asked
        wishes = self.saver.wishes(if_due=False)
        self.saver.save(self._frozen, wishes, finished=self.state.finished, took_s=waited)
        self._stop.check()

    def leave(self, error: BaseException | None, complete: Callable[[], None]) -> None:
        """Complete the run, or save after a stop. Raise what ends this start."""
        try:
            if error is not None:
                raise error
            if self._start.done:
                return
            if not self.state.finished:
                self._stop.check()
                raise UsageError(
                    f"the loop ended at step {self.state.step} of {self.state.total_steps}: train until"
                    " session.finished, or correct total_steps"
                )
            complete()
        except Stopped:
            if self._state and not self._in_step and not self._start.done and self._ballot.together:
                self.saver.leave(self.saveable)
            raise
        except LeaseLost:
            if self._state and self.saver.durable_step == self._state.step:
                self.saver.copy_last_logs()  # no step in the logs is computed again
            raise
        except PermissionDenied as denied:
            if self.saver.accepted:
                raise StartAgain(str(denied)) from denied
            raise

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        """Return a section in which a stop ends the wait at once: only between steps is the state complete."""
        return contextlib.nullcontext() if self._in_step else self._stop.interruptible()

    @property
    def _in_step(self) -> bool:
        return self._state is not None and self._training_positions() != self._positions

    def _training_positions(self) -> list[tuple[int, int]]:
        return [(loader.epoch, loader.offset) for loader in self.training_loaders]

    def _measure(self) -> float:
        """Update the training time, and return the seconds of this start."""
        elapsed = self._clock.monotonic() - self._began
        self.state.compute_seconds = self._carried + elapsed
        return elapsed


@contextlib.contextmanager
def _evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Put modules into evaluation mode, without gradients. Restore their modes and the generators at the end."""
    modes, before = [(module, module.training) for top in modules for module in top.modules()], generators()
    try:
        with torch.no_grad():
            for module in modules:
                module.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        set_generators(before)
