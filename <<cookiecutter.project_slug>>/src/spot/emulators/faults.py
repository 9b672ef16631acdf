"""Inject faults into calls to the Vertex AI emulator, selected by a function of each call."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from spot.emulators.custom_job import JobRequest


class Method(StrEnum):
    CREATE = "create"
    GET = "get"
    LIST = "list"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    method: Method
    project: str
    region: str
    job: str
    """Its id, empty for create and list."""
    request: JobRequest | None
    """Only for create."""


Reply = tuple[int, dict[str, object]]
"""HTTP status and JSON body."""
Injection = Callable[[Callable[[], Reply]], Reply | None]
"""Receives the function that executes the call; returns the response, or None to reset the connection."""
Rule = Callable[[Call], Injection | None]


@dataclass(frozen=True, slots=True)
class LostReply:
    """Execute the call, then reset the connection."""

    meanwhile: Callable[[], None] = lambda: None
    """Called after the execution, before the reset."""

    def __call__(self, execute: Callable[[], Reply]) -> None:
        execute()
        self.meanwhile()


def never(_: Call) -> None:
    """Inject no fault."""
