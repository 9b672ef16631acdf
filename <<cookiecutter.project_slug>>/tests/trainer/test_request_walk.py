"""Interrupted at every single request to the store, before it and after it took effect: always the same model."""

from __future__ import annotations

import itertools
import signal
from concurrent.futures import Future
from dataclasses import replace

import pytest

from bucket.store import open_store
from tests.proxy import Fault, LostReply, Proxy, Request, Reset, never
from tests.trainer.conftest import Trainer
from tests.trainer.test_faults import assert_whole
from tests.zygote import Life, Zygote

pytestmark = pytest.mark.chaos

FLAGS = ("--checkpoint-interval", "0.3", "--keep", "1")
FEWEST = 20
"""Requests in the shortest of these lives."""


def interrupted_at(number: int, moment: str, trainer: Trainer, proxy: Proxy) -> Life:
    """A life that is interrupted at its `number`-th request, if it makes so many."""
    first = proxy.requests[-1].number if proxy.requests else 0
    proxy.requests.clear()
    lives = Future[Life]()

    def rule(request: Request) -> Fault | None:
        if request.number != first + number:
            return None
        match moment:
            case "killed before":
                lives.result().kill()
                return Reset()
            case "killed after":
                return LostReply(lives.result().kill)
            case _:
                lives.result().kill(signal.SIGTERM)
                return None

    proxy.rule = rule
    lives.set_result(trainer.start(*FLAGS))
    lives.result().wait()
    proxy.rule = never
    return lives.result()


@pytest.mark.parametrize(
    ("moment", "codes"),
    [("killed before", {-signal.SIGKILL}), ("killed after", {-signal.SIGKILL}), ("stopped before", {143, 0})],
)
def test_an_interruption_at_any_request_leaves_no_trace(
    moment: str, codes: set[int], zygote: Zygote, gs_uri: str, proxy: Proxy, undisturbed: tuple[bytes, bytes]
) -> None:
    for number in itertools.count(1):
        trainer = Trainer(zygote, f"{gs_uri}/{number}")
        life = interrupted_at(number, moment, replace(trainer, env={"STORAGE_EMULATOR_HOST": proxy.url}), proxy)
        assert_whole(open_store(f"{trainer.uri}/checkpoints"))
        if len(proxy.requests) < number:
            assert life.code == 0
            break
        assert life.code in codes, f"request {number}: {life.output}{life.errors}"
        successor = trainer.start(*FLAGS)
        assert successor.wait() == 0, f"request {number}: {successor.output}{successor.errors}"
        assert trainer.result() == undisturbed
        assert_whole(open_store(f"{trainer.uri}/checkpoints"))
    assert number > FEWEST
    print(f"{moment}: {number - 1} requests")
