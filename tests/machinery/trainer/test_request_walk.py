"""Test that an interruption at any kind of request to the store, before or after its effect, changes no model."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from tests.machinery.proxy import Fault, LostReply, Proxy, Request, Reset, never
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.trainer.faults import Faulty, Result, assert_complete
from tests.machinery.zygote import TrainerProcess, Zygote

pytestmark = pytest.mark.chaos

FLAGS = ("--checkpoint-interval", "0.1", "--keep", "1")
TIMES = 1 if "CI" in os.environ else 2
"""The most requests of one kind that are interrupted, each in a run of its own."""
IN_EVERY_START = {
    "GET models/default/completion.json",
    "POST models/default/.writable",
    "POST checkpoints/default/attempts/local/#-started.json",
    "GET checkpoints/default/writer.json",
    "POST checkpoints/default/writer.json",
    "POST checkpoints/default/data/#/local.#.#-r#/part-#",
    "POST checkpoints/default/manifests/#-#-from-#-#.json",
    "POST models/default/model/model.safetensors",
    "POST models/default/model/config.json",
    "POST models/default/metrics.json",
    "POST models/default/completion.json",
    "POST checkpoints/default/attempts/local/#-ended.json",
}


def killed_before(process: TrainerProcess) -> Fault | None:
    process.kill()
    return Reset()


def killed_after(process: TrainerProcess) -> Fault | None:
    return LostReply(process.kill)


def stopped_before(process: TrainerProcess) -> Fault | None:
    process.kill(signal.SIGTERM)
    return None


def kind(request: Request) -> str:
    """Return method and object of a request, without the prefix of the test and without numbers."""
    about = (request.name or request.query.get("prefix", "")).split("/", 2)[2]
    return re.sub(r"\d+", "#", f"{request.method} {about}")


def interrupted_at(
    wanted: str, time: int, interrupt: Callable[[TrainerProcess], Fault | None], faulty: Faulty
) -> TrainerProcess:
    """Run a process, interrupted at its `time`-th request of a kind if it makes so many."""
    times = itertools.count(1)

    def rule(request: Request, process: Callable[[], TrainerProcess]) -> Fault | None:
        return interrupt(process()) if kind(request) == wanted and next(times) == time else None

    process = faulty.start_with(rule, *FLAGS)
    process.wait()
    faulty.proxy.rule = never
    return process


@pytest.mark.parametrize(
    ("interrupt", "code"),
    [(killed_before, -signal.SIGKILL), (killed_after, -signal.SIGKILL), (stopped_before, 143)],
)
def test_an_interruption_at_any_request_leaves_no_trace(
    interrupt: Callable[[TrainerProcess], Fault | None],
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
        process = interrupted_at(wanted, time, interrupt, faulty)
        assert_complete(faulty.checkpoints)
        # A stop during the last requests leaves the run complete.
        assert process.code in {code, 0}, f"{wanted}, {time}: {process.output}{process.errors}"
        if process.code == code:
            interrupted.add(wanted)
        successor = faulty.trainer.start(*FLAGS)
        assert successor.wait() == 0, f"{wanted}, {time}: {successor.output}{successor.errors}"
        faulty.assert_undisturbed(undisturbed)
    after_completion = {"POST checkpoints/default/attempts/local/#-ended.json"}
    assert interrupted >= IN_EVERY_START - (after_completion if code == 143 else set())
