"""Interrupted at every kind of request to the store, before it and after it took effect: always the same model."""

from __future__ import annotations

import itertools
import re
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from tests.machinery.proxy import Fault, LostReply, Proxy, Request, Reset, never
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.trainer.faults import Faulty, Result, assert_whole
from tests.machinery.zygote import Life, Zygote

pytestmark = pytest.mark.chaos

FLAGS = ("--checkpoint-interval", "0.1", "--keep", "1")
TIMES = 2
"""Of several requests of one kind in a life, so many are tried."""
IN_EVERY_LIFE = {
    "GET models/default/completion.json",
    "POST models/default/.writable",
    "POST checkpoints/default/attempts/local/#-started.json",
    "GET checkpoints/default/writer.json",
    "POST checkpoints/default/writer.json",
    "POST checkpoints/default/data/#/local.#.#/part-#",
    "POST checkpoints/default/manifests/#-#-from-#-#.json",
    "POST models/default/model.safetensors",
    "POST models/default/metrics.json",
    "POST models/default/completion.json",
    "POST checkpoints/default/attempts/local/#-ended.json",
}


def killed_before(life: Life) -> Fault | None:
    life.kill()
    return Reset()


def killed_after(life: Life) -> Fault | None:
    return LostReply(life.kill)


def stopped_before(life: Life) -> Fault | None:
    life.kill(signal.SIGTERM)
    return None


def kind(request: Request) -> str:
    """What is asked, without the place of this test and without numbers."""
    about = (request.name or request.query.get("prefix", "")).split("/", 2)[2]
    return re.sub(r"\d+", "#", f"{request.method} {about}")


def interrupted_at(wanted: str, time: int, interrupt: Callable[[Life], Fault | None], faulty: Faulty) -> Life:
    """A life that is interrupted at its `time`-th request of a kind, if it makes so many."""
    times = itertools.count(1)

    def rule(request: Request, life: Callable[[], Life]) -> Fault | None:
        return interrupt(life()) if kind(request) == wanted and next(times) == time else None

    life = faulty.start_with(rule, *FLAGS)
    life.wait()
    faulty.proxy.rule = never
    return life


@pytest.mark.parametrize(
    ("interrupt", "code"),
    [(killed_before, -signal.SIGKILL), (killed_after, -signal.SIGKILL), (stopped_before, 143)],
)
def test_an_interruption_at_any_request_leaves_no_trace(
    interrupt: Callable[[Life], Fault | None],
    code: int,
    zygote: Zygote,
    gs_uri: str,
    proxy: Proxy,
    undisturbed: Result,
) -> None:
    assert Faulty(Trainer(zygote, f"{gs_uri}/survey"), proxy).start(*FLAGS).wait() == 0
    kinds = Counter(map(kind, proxy.requests))
    moments = [(wanted, time) for wanted, count in kinds.items() for time in range(1, min(count, TIMES) + 1)]
    interrupted = set()
    for number, (wanted, time) in enumerate(moments):
        faulty = Faulty(Trainer(zygote, f"{gs_uri}/{number}"), proxy)
        life = interrupted_at(wanted, time, interrupt, faulty)
        assert_whole(faulty.checkpoints)
        # A stop that comes with the last requests does not undo that the run is complete.
        assert life.code in {code, 0}, f"{wanted}, {time}: {life.output}{life.errors}"
        if life.code == code:
            interrupted.add(wanted)
        successor = faulty.trainer.start(*FLAGS)
        assert successor.wait() == 0, f"{wanted}, {time}: {successor.output}{successor.errors}"
        faulty.assert_undisturbed(undisturbed)
    after_completion = {"POST checkpoints/default/attempts/local/#-ended.json"}
    assert interrupted >= IN_EVERY_LIFE - (after_completion if code == 143 else set())
