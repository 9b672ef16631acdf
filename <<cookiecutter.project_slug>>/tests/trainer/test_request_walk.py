"""Interrupted at every single request to the store, before it and after it took effect: always the same model."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable

import pytest

from tests.proxy import Fault, LostReply, Proxy, Request, Reset, never
from tests.trainer.conftest import Trainer
from tests.trainer.faults import Faulty, Result, assert_whole
from tests.zygote import Life, Zygote

pytestmark = pytest.mark.chaos

FLAGS = ("--checkpoint-interval", "0.3", "--keep", "1")
FEWEST = 20
"""Requests in the shortest of these lives."""


def killed_before(life: Life) -> Fault | None:
    life.kill()
    return Reset()


def killed_after(life: Life) -> Fault | None:
    return LostReply(life.kill)


def stopped_before(life: Life) -> Fault | None:
    life.kill(signal.SIGTERM)
    return None


def interrupted_at(number: int, interrupt: Callable[[Life], Fault | None], faulty: Faulty) -> Life:
    """A life that is interrupted at its `number`-th request, if it makes so many."""
    faulty.proxy.requests.clear()
    requests = itertools.count(1)

    def rule(_: Request, life: Callable[[], Life]) -> Fault | None:
        return interrupt(life()) if next(requests) == number else None

    life = faulty.start_with(rule, *FLAGS)
    life.wait()
    faulty.proxy.rule = never
    return life


@pytest.mark.parametrize(
    ("interrupt", "codes"),
    [(killed_before, {-signal.SIGKILL}), (killed_after, {-signal.SIGKILL}), (stopped_before, {143, 0})],
)
def test_an_interruption_at_any_request_leaves_no_trace(
    interrupt: Callable[[Life], Fault | None],
    codes: set[int],
    zygote: Zygote,
    gs_uri: str,
    proxy: Proxy,
    undisturbed: Result,
) -> None:
    for number in itertools.count(1):
        faulty = Faulty(Trainer(zygote, f"{gs_uri}/{number}"), proxy)
        life = interrupted_at(number, interrupt, faulty)
        assert_whole(faulty.checkpoints)
        if len(proxy.requests) < number:
            assert life.code == 0
            break
        assert life.code in codes, f"request {number}: {life.output}{life.errors}"
        successor = faulty.trainer.start(*FLAGS)
        assert successor.wait() == 0, f"request {number}: {successor.output}{successor.errors}"
        faulty.assert_undisturbed(undisturbed)
    assert number > FEWEST
