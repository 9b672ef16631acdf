"""Train twice on the digits, once in peace and once interrupted again and again, and compare the results."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bucket import layout, manifest
from bucket.store import NotFound, Store, open_store
from rehearsal.emulator import emulator
from rehearsal.trainer_process import TrainerProcess

BUCKET = "rehearsal"
LIFE_S = 300.0
"""More than any start of the trainer takes here."""
STARTUP_S = 1.5
"""An interruption of a start-up comes at a random moment within this."""
INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What is rehearsed."""

    interruptions: int = 6
    epochs: int = 40
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One start of the trainer in the interrupted run."""

    signal: signal.Signals | None
    """None: it ran to its end."""
    exit_code: int
    seconds: float
    """From start to exit."""
    ready_s: float | None
    """From start to the first step, None if it did not get there."""
    first_step: int
    step: int
    """The last one it is known to have done."""
    durable_step: int
    """Where the next start goes on."""

    @property
    def lost_steps(self) -> int:
        """Steps that the next start does again."""
        return max(self.step - self.durable_step, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the two runs compare."""

    score_name: str
    score: float
    """On the held-out data."""
    steps: int
    same_weights: bool
    same_metrics: bool
    same_order: bool

    @property
    def identical(self) -> bool:
        return self.same_weights and self.same_metrics and self.same_order


class RehearsalError(Exception):
    """The rehearsal could not be played to its end."""


def rehearse(play: Play, tell: Callable[[str], None], note: Callable[[Life], None]) -> Outcome:
    """Play it on an emulator; `tell` hears what is going on, `note` each life of the interrupted run."""
    with emulator(BUCKET) as url:
        previous = os.environ.get("STORAGE_EMULATOR_HOST")
        os.environ["STORAGE_EMULATOR_HOST"] = url
        try:
            tell(f"training {play.epochs} epochs without interruption")
            _uninterrupted(play)
            tell(f"the same again, interrupted {play.interruptions} times by SIGTERM and SIGKILL at random moments")
            for life in _interrupted(play):
                note(life)
            return _compare()
        finally:
            os.environ.pop("STORAGE_EMULATOR_HOST")
            if previous is not None:
                os.environ["STORAGE_EMULATOR_HOST"] = previous


def _start(run: str, play: Play) -> TrainerProcess:
    arguments = {
        "--run": run,
        "--output-dir": f"gs://{BUCKET}/models",
        "--checkpoint-dir": f"gs://{BUCKET}/checkpoints",
        "--checkpoint-interval": str(INTERVAL_S),
        "--epochs": str(play.epochs),
        "--seed": str(play.seed),
        "--log-interval": "0.01",
    }
    return TrainerProcess([item for pair in arguments.items() for item in pair], os.environ)


def _uninterrupted(play: Play) -> None:
    process = _start("uninterrupted", play)
    if process.wait(LIFE_S) != 0:
        raise RehearsalError("the uninterrupted run failed:\n" + "\n".join(process.seen.lines[-20:]))


def _interrupted(play: Play) -> Iterator[Life]:
    chance = random.Random(play.seed)
    signals = [signal.SIGTERM, signal.SIGKILL] * play.interruptions
    for number in signals[: play.interruptions]:
        life = _live(play, number, chance)
        yield life
        if life.exit_code == 0:
            return
    last = _live(play, None, chance)
    yield last
    if last.exit_code != 0:
        raise RehearsalError(f"the last start ended with {last.exit_code}")


def _live(play: Play, number: signal.Signals | None, chance: random.Random) -> Life:
    began = time.monotonic()
    process = _start("interrupted", play)
    if number is not None:
        _wait_for_the_moment(process, chance)
        process.interrupt(number)
    code = process.wait(LIFE_S)
    if code is None:
        process.interrupt(signal.SIGKILL)
        raise RehearsalError(f"a start of the trainer did not end within {LIFE_S:.0f} s")
    allowed = {None: {0}, signal.SIGTERM: {0, 143}, signal.SIGKILL: {0, -9}}[number]
    if code not in allowed:
        raise RehearsalError(f"a start of the trainer ended with {code}:\n" + "\n".join(process.seen.lines[-20:]))
    newest = manifest.newest(_store("checkpoints"), "interrupted")
    durable = newest.step if newest else 0
    return Life(
        signal=number if code else None,
        exit_code=code,
        seconds=time.monotonic() - began,
        ready_s=process.seen.training_since,
        first_step=process.seen.first_step,
        step=max(process.seen.step, durable),
        durable_step=durable,
    )


def _wait_for_the_moment(process: TrainerProcess, chance: random.Random) -> None:
    """One in four interruptions hits the start-up, the others the training."""
    if chance.random() < 0.25:
        process.wait(chance.uniform(0, STARTUP_S))
    elif process.wait_until_training(LIFE_S):
        process.wait(chance.uniform(0.2, 2.5))


def _compare() -> Outcome:
    peace, storm = (_results(run) for run in ("uninterrupted", "interrupted"))
    metrics, others = json.loads(peace[1]), json.loads(storm[1])
    return Outcome(
        score_name=others["score"],
        score=others["final"][others["score"]],
        steps=others["steps"],
        same_weights=peace[0] == storm[0],
        same_metrics=metrics["history"] == others["history"],
        same_order=metrics["samples_digest"] == others["samples_digest"],
    )


def _results(run: str) -> tuple[bytes, bytes]:
    models = _store("models")
    try:
        models.read(layout.output(run, layout.COMPLETION))
        weights, metrics = (models.read(layout.output(run, name)) for name in (layout.MODEL, layout.METRICS))
    except NotFound as error:
        raise RehearsalError(f"run {run} is not complete: {error}") from error
    return weights.data, metrics.data


def _store(folder: str) -> Store:
    return open_store(f"gs://{BUCKET}/{folder}")
