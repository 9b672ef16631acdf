"""Define what a run records of the run that it resumes."""

from dataclasses import dataclass

from spot.core import fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """Record the closed run that a run resumes, as it was at submit."""

    run: fields.Id
    checkpoints: fields.Id
    """The run with the newest checkpoint: `run`, or its own ancestor if `run` has none."""
    usd: fields.Quantity | None
    """Cost of `run` and its ancestors, None if a price is not known."""
