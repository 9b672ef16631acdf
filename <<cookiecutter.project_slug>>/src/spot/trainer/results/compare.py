"""Measure a trained model and the champion on the same samples. The gate decides by what is measured here."""

import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from torch import nn

from spot.core.errors import TemporarilyUnavailable
from spot.core.evaluation import MOST_TEXT, Evaluation, Measurement, Paired
from spot.core.fields import one_line
from spot.storage.factory import open_store
from spot.storage.records import champion, completion
from spot.trainer.distributed.group import Group
from spot.trainer.metrics import Metric
from spot.trainer.results.export import fetch_model
from spot.trainer.runtime.errors import StartAgain, UsageError

ModelStep = Callable[[nn.Module, Any], Mapping[str, Any]]
"""An `evaluation_step`."""
Values = Mapping[str, Sequence[Sequence[float]]]
"""Values and weights of the samples, in their order, by the name of the metric."""
LARGEST = 1e70
"""The sum of the squares of such values is a `Number`."""
MOST_SLICES, LONGEST = 100, 100

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Hold what both models are measured with, see `Session.compare`."""

    step: ModelStep
    loader: Iterable[Any]
    slices: Sequence[str]
    load: Callable[[Path], nn.Module]


def check_slices(slices: Sequence[str], samples: int | None) -> None:
    """Raise `UsageError` for slices that are not names, or not as many as there are samples."""
    names = set(slices)
    wrong = next((name for name in names if not (name and name.isprintable() and len(name) <= LONGEST)), None)
    if wrong is not None or len(names) > MOST_SLICES or (slices and samples not in {None, len(slices)}):
        found = f"{wrong!r}" if wrong is not None else f"{len(slices)} names, {len(names)} different"
        raise UsageError(
            f"slices has {found}: give one name of at most {LONGEST} characters for each of the {samples} samples, at"
            f" most {MOST_SLICES} different ones"
        )


def evaluation(
    run: str,
    metrics: Sequence[Metric],
    held_out: HeldOut,
    pinned: str | None,
    challenger: nn.Module,
    *,
    wrap: Callable[[nn.Module], nn.Module],
    measure: Callable[[nn.Module, ModelStep, Iterable[Any]], Values],
    group: Group,
) -> Evaluation | None:
    """Return the measurements of both models, equal in each repetition; None if the new model gives no values.

    A champion that cannot be loaded or measured is a `problem` of the evaluation: it fails no training.
    """

    def measured(load: Callable[[], nn.Module]) -> Values:
        found = measure(load(), held_out.step, held_out.loader)
        if metrics[0].name not in found:
            raise UsageError(f"the evaluation returned no value of {metrics[0].name!r}")
        return found

    ours, problem = _tried(lambda: measured(lambda: challenger), group)
    if ours is None:
        _log.warning("the model is not compared: %s", problem)
        return None
    theirs: Values | None = None
    if pinned:
        theirs, problem = _tried(lambda: measured(lambda: wrap(_load(pinned, held_out.load))), group)
    slices = held_out.slices
    parts: dict[str | None, Sequence[int]] = {None: range(len(ours[metrics[0].name][0]))}
    parts |= {name: [at for at, one in enumerate(slices) if one == name] for name in sorted(set(slices))}
    measurements = tuple(
        _measurement(metric, name, _at(ours, metric.name, part), _at(theirs or {}, metric.name, part))
        for metric in metrics
        if metric.name in ours
        for name, part in parts.items()
    )
    if theirs and not measurements[0].paired:
        problem = f"a value of {metrics[0].name} is not finite"
    if problem:
        _log.warning("the champion %s is not compared: %s", pinned, problem)
    return Evaluation(
        run=run, measurements=measurements, champion=_run_of(pinned) if pinned else None, problem=problem or None
    )


def _tried(do: Callable[[], _T], group: Group) -> tuple[_T | None, str]:
    """Return the result, or why a rank has none. Raise what another start may not meet."""
    from spot.trainer.distributed.join import is_lost

    found, problem = None, ""
    try:
        found = do()
    except (TemporarilyUnavailable, StartAgain):
        raise
    except Exception as error:
        if is_lost(error):
            raise
        _log.debug("not measured", exc_info=error)
        problem = one_line(error)[:MOST_TEXT] or type(error).__name__
    problem = next((one for one in group.gather(problem) if one), "")
    return (None if problem else found), problem


def _run_of(pinned: str) -> str:
    return pinned.partition("#")[0].rpartition("/")[2]


def _load(pinned: str, load: Callable[[Path], nn.Module]) -> nn.Module:
    """Return the model of a run, whose files are those that were promoted."""
    uri, _, digest = pinned.partition("#")
    store, run = open_store(uri.rpartition("/")[0]), _run_of(pinned)
    complete = completion.read(store, run)
    if complete is None or digest not in {"", champion.digest(complete.model)}:
        raise UsageError(f"{uri} does not hold the files that were promoted")
    with tempfile.TemporaryDirectory(prefix="champion-") as folder:
        fetch_model(store, complete, Path(folder))
        return load(Path(folder))


def _at(values: Values, metric: str, part: Sequence[int]) -> list[tuple[float, float]]:
    """Return value and weight of each sample of a part, nothing of a metric that was not measured."""
    if metric not in values:
        return []
    found, weights = values[metric]
    return [(found[at], weights[at]) for at in part]


def _measurement(
    metric: Metric, name: str | None, ours: Sequence[tuple[float, float]], theirs: Sequence[tuple[float, float]]
) -> Measurement:
    challenger, other, paired = _weighed(ours), _weighed(theirs), None
    score = metric.of(fmean(challenger)) if challenger else math.nan
    if challenger and other:
        paired = Paired(
            challenger=fmean(challenger),
            champion=fmean(other),
            squares=math.fsum((one - two) ** 2 for one, two in zip(challenger, other, strict=True)),
            spread=max(*challenger, *other) - min(*challenger, *other),
        )
    return Measurement(
        metric=metric.name,
        slice=name,
        higher_is_better=metric.higher_is_better,
        samples=len(ours),
        score=score if abs(score) <= LARGEST else None,
        paired=paired,
    )


def _weighed(pairs: Sequence[tuple[float, float]]) -> list[float]:
    """Return values whose plain mean is the weighted mean; empty if there is none, or if it is not finite."""
    total = math.fsum(weight for _, weight in pairs)
    if not 0 < total < math.inf:
        return []
    scale = len(pairs) / total
    found = [value * (weight * scale) if weight else 0.0 for value, weight in pairs]
    return found if all(abs(one) <= LARGEST for one in found) else []
