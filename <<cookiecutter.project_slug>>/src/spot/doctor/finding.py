"""What the doctor is asked about, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from spot.core.run import Machine, Strategy


class Status(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    """It works, and costs more or is less safe than it could."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The check could not be carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    check: str
    status: Status
    detail: str
    """What was found; for UNKNOWN, why nothing was."""
    fix: str = ""
    """A command or a click that can be copied; empty where there is nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is checked."""

    project: str
    regions: tuple[str, ...]
    bucket: str
    service_account: str
    """Its address; empty if there is none."""
    image: str
    """Empty if there is none."""
    machine: Machine
    strategy: Strategy
