"""What can go wrong with a call to the Vertex AI stand-in, chosen by a function of each call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from spot.core.run import Provisioning
from spot.emulators import messages
from spot.emulators.custom_job import Request


class Method(StrEnum):
    CREATE = "create"
    GET = "get"
    LIST = "list"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a rule decides on."""

    number: int
    """From 1, over all connections."""
    method: Method
    project: str
    region: str
    job: str
    """Its id, empty for create and list."""
    request: Request | None
    """What is to be created."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with this status; nothing is carried out."""

    status: int
    message: str = "injected"


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection; nothing is carried out."""


@dataclass(frozen=True, slots=True)
class LostReply:
    """Carry it out, then reset the connection."""

    meanwhile: Callable[[], None] = lambda: None
    """Called between the two."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Carry it out, and answer so many real seconds later."""

    seconds: float


Fault = Answer | Reset | LostReply | Slow
Rule = Callable[[Call], Fault | None]
Where = Callable[[Call], bool]


def never(_: Call) -> None:
    """The rule of a server that works."""


def always(_: Call) -> bool:
    return True


def on(method: Method) -> Where:
    return lambda call: call.method is method


def each(fault: Fault, *, where: Where = always, count: float = float("inf")) -> Rule:
    """`fault` for the first `count` calls that satisfy `where`."""
    lock, left = threading.Lock(), count

    def rule(call: Call) -> Fault | None:
        nonlocal left
        with lock:
            if left <= 0 or not where(call):
                return None
            left -= 1
            return fault

    return rule


def first(*rules: Rule) -> Rule:
    """The fault of the first rule that has one; the others do not see that call."""
    return lambda call: next((fault for rule in rules if (fault := rule(call)) is not None), None)


def no_quota(region: str, provisioning: Provisioning, what: str) -> Rule:
    """No job of that kind can be created there; `what` as in a metric's name: nvidia_l4_gpus, cpus."""
    return _refused(
        429, messages.quota(what, provisioning).message, region, lambda asked: asked.provisioning is provisioning
    )


def no_machine(region: str, machine_type: str) -> Rule:
    """The region does not know such machines."""
    return _refused(
        400, messages.unsupported(machine_type).message, region, lambda asked: asked.machine_type == machine_type
    )


def rate_limit(count: int) -> Rule:
    """The next `count` calls are too many."""
    return each(Answer(429, messages.RATE_LIMIT), count=count)


def _refused(status: int, message: str, region: str, asks: Callable[[Request], bool]) -> Rule:
    return each(
        Answer(status, message),
        where=lambda call: call.region == region and call.request is not None and asks(call.request),
    )
