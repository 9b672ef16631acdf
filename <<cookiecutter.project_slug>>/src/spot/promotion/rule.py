"""Decide whether a new model replaces the champion: a pure function of the measurements and the settings.

The mean gain must not be negative, and its lower bound must be above minus the margin. The first condition alone
promotes bad models where samples are few. The second alone lets quality creep down where they are many.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from spot.config.settings import GateSettings
from spot.core.evaluation import Evaluation, Measurement
from spot.core.history import Decision
from spot.core.run import Run

MOST_SAMPLES = 10**12


class GateVerdict(StrEnum):
    """State what becomes of a new model."""

    PROMOTE = "promote"
    KEEP = "keep"
    """The champion stays in use."""
    ASK = "ask"
    """The measurements do not decide: a person must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDecision:
    """Hold a verdict and the numbers that it rests on."""

    verdict: GateVerdict
    reason: str


_promote = partial(GateDecision, verdict=GateVerdict.PROMOTE)
_keep = partial(GateDecision, verdict=GateVerdict.KEEP)
_ask = partial(GateDecision, verdict=GateVerdict.ASK)


def recorded(run: Run) -> Decision | None:
    """Return the decision of the gate in the record of a run."""
    return next((made for made in run.decisions if made.action in set(GateVerdict)), None)


def decide(found: Evaluation | None, gate: GateSettings, champion: str | None) -> GateDecision | None:
    """Return the decision about a new model, None if nothing was measured and there is no champion.

    `champion` is the run whose model is in use. The worst news comes first: a bad score needs no comparison.
    """
    if found is None:
        return _ask(reason=f"the run measured nothing to compare with {champion}") if champion else None
    judged = found.judged
    if judged.score is None:
        return _keep(reason=str(judged))
    sign = 1 if judged.higher_is_better else -1
    if gate.threshold != "none" and sign * (judged.score - gate.threshold) < 0:
        return _keep(reason=f"{judged} is {'below' if sign > 0 else 'above'} the threshold {gate.threshold:g}")
    if found.champion != champion:
        return _ask(reason=f"compared with {found.champion or 'no champion'}, and the champion is {champion or 'none'}")
    if champion is None:
        return _promote(reason=f"{judged}, and there was no champion")
    if judged.paired is None:
        problem = found.problem or f"no value of {judged.metric} per sample"
        return _ask(reason=f"not comparable with {champion}: {problem}")
    return _compared(found, gate.margin)


def _compared(found: Evaluation, margin: float) -> GateDecision:
    judged = found.judged
    gain, (low, high) = judged.gain or 0.0, judged.bounds
    numbers = f"{summary(judged)}, champion {found.champion}"
    for part in found.slices:
        if part.bounds[1] < -margin:
            return _keep(reason=f"worse on {part.slice} by more than {margin:g}: {summary(part)}; in all {numbers}")
    if gain < 0:
        return _keep(reason=f"{'worse' if high < 0 else 'not better'}: {numbers}")
    if low > -margin:
        return _promote(reason=numbers)
    enough = samples_needed(judged, margin)
    advice = f", about {enough} would do" if enough else ""
    return _ask(reason=f"too few samples to exclude a loss of {margin:g}{advice}: {numbers}")


def samples_needed(judged: Measurement, margin: float) -> int | None:
    """Return how many samples like these would exclude a loss of `margin`, to two digits; None if no number does."""
    count = float(judged.samples)
    while count < MOST_SAMPLES:
        rounded = round(float(f"{count:.1e}"))
        if judged.gain_bounds(rounded)[0] > -margin:
            return rounded
        count *= 1.1
    return None


def summary(found: Measurement) -> str:
    """Return the comparison of one measurement with its numbers."""
    assert found.paired
    low, high = found.bounds
    return (
        f"{found.metric} {found.paired.challenger:.4g} against {found.paired.champion:.4g} on {found.samples} samples,"
        f" gain {found.gain:+.4g} (95 % bounds {low:+.4g} and {high:+.4g})"
    )
