"""Test that a hand-over between real trainers yields the same model, also if either dies at any of its steps."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import pytest

from spot.storage import paths
from spot.storage.base import Store
from spot.storage.factory import open_store
from spot.storage.records import manifest
from spot.storage.records.manifest import Manifest
from tests.machinery.proxy import Fault, LostReply, Proxy, Request, Reset
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.trainer.faults import RUN, Result, assert_complete, error_line, is_commit, is_part
from tests.machinery.trainer.test_signals import wait_for
from tests.machinery.zygote import TrainerProcess, Zygote

PACE = {"LEASE_SPEED": "40", "STEP_S": "0.12"}
"""A standby starts within few steps of its holder."""
FLAGS = ("--checkpoint-interval", "0.3", "--log-interval", "0.3")
HOLDER, STANDBY, NEXT = "a4", "a5", "a6"
Where = Callable[[Request], bool]


def is_lease(request: Request) -> bool:
    return request.is_upload and request.name.endswith("/writer.json")


@dataclass(slots=True)
class Side:
    """Run the holder or the standby, each through a proxy of its own."""

    trainer: Trainer
    proxy: Proxy
    attempt: str
    started: Future[TrainerProcess] = field(default_factory=Future)

    def start(self, *flags: str) -> TrainerProcess:
        env = {"STORAGE_EMULATOR_HOST": self.proxy.url, **PACE}
        self.started.set_result(replace(self.trainer, env=env).start(*FLAGS, "--attempt", self.attempt, *flags))
        return self.started.result()

    def kill(self) -> None:
        self.started.result().kill()

    def at(self, moment: Sequence[Where], inject: Callable[[], Fault | None]) -> None:
        """Call `inject` at the last of these requests, after the ones before it in this order."""
        expected = list(moment)

        def rule(request: Request) -> Fault | None:
            if expected and expected[0](request):
                del expected[0]
                if not expected:
                    return inject()
            return None

        self.proxy.rule = rule


@dataclass(frozen=True, slots=True)
class Pair:
    """Run a holder, and a standby that starts once the holder has committed a checkpoint."""

    trainer: Trainer
    holder: Side
    standby: Side

    def start(self) -> tuple[TrainerProcess, TrainerProcess]:
        holder = self.holder.start()
        wait_for(holder, r"checkpoint durable")
        return holder, self.standby.start("--standby", HOLDER)

    @property
    def checkpoints(self) -> Store:
        return open_store(f"{self.trainer.uri}/checkpoints")

    def completed_by(self) -> str:
        """Return the attempt that completed the run. Start the next one if both have ended."""
        if not self.trainer.complete():
            assert self.trainer.start(*FLAGS, "--attempt", NEXT).wait() == 0
        name = paths.output(RUN, paths.COMPLETION)
        facts = json.loads(open_store(f"{self.trainer.uri}/models").read(name).data)
        return str(facts["attempt"])

    def newest(self) -> Manifest:
        newest = self.trainer.newest()
        assert newest
        return newest


@pytest.fixture
def pair(zygote: Zygote, gs_uri: str, emulator_url: str) -> Iterator[Pair]:
    trainer = Trainer(zygote, gs_uri)
    with Proxy(emulator_url) as for_holder, Proxy(emulator_url) as for_standby:
        yield Pair(trainer, Side(trainer, for_holder, HOLDER), Side(trainer, for_standby, STANDBY))


def killed(*sides: Side, after: bool) -> Callable[[], Fault]:
    """Return a fault that kills these sides before or after the request takes effect."""

    def kill() -> None:
        for side in sides:
            side.kill()

    def inject() -> Fault:
        if after:
            return LostReply(kill)
        kill()
        return Reset()

    return inject


HEARTBEAT = [is_lease, is_lease]  # after its claim
SAVED = [*HEARTBEAT, is_commit]
OFFERED = [*SAVED, is_lease]
REQUESTED = [is_lease]
ACCEPTED = [is_lease, is_lease]
FIRST_SAVE = [*ACCEPTED, is_part]


def test_the_standby_continues_at_exactly_the_step_of_the_holder(pair: Pair, undisturbed: Result) -> None:
    frozen = threading.Event()

    def freeze() -> None:
        pair.standby.started.result().kill(signal.SIGSTOP)
        frozen.set()

    pair.standby.at(FIRST_SAVE, freeze)
    holder, standby = pair.start()
    line = error_line(holder, 75)
    handed_over = re.fullmatch(r"trainer: handed over to a5\.1 at step (\d+)", line)
    assert handed_over, line
    marker = json.loads(pair.checkpoints.read(paths.marker(RUN, HOLDER, 1, "ended")).data)
    assert (marker["exit_code"], marker["reason"]) == (75, line.removeprefix("trainer: "))
    newest = manifest.newest(pair.checkpoints, RUN)
    assert newest
    assert newest.step == int(handed_over[1])
    # Vertex AI may restart the holder's container: it cannot claim the lease again.
    assert frozen.wait(60)
    restarted = pair.trainer.start(*FLAGS, "--attempt", HOLDER)
    assert "attempt a4 was replaced: the lease of run default is a5.1's" in error_line(restarted, 75)
    standby.kill(signal.SIGCONT)
    assert standby.wait() == 0, standby.output + standby.errors
    assert re.search(r"step \d+: standby", standby.output)
    assert f"step {handed_over[1]} of 69: resumed from the checkpoint of run default attempt a4" in standby.output
    assert pair.completed_by() == STANDBY
    assert pair.trainer.result() == undisturbed
    assert_complete(pair.checkpoints)


@pytest.mark.parametrize(
    ("moment", "after"),
    [
        pytest.param(HEARTBEAT, True, marks=pytest.mark.chaos),
        pytest.param(SAVED, False, marks=pytest.mark.chaos),
        pytest.param(SAVED, True, marks=pytest.mark.chaos),
        pytest.param(OFFERED, False, marks=pytest.mark.chaos),
        (OFFERED, True),
    ],
)
def test_a_standby_replaces_a_dead_holder(
    moment: Sequence[Where], after: bool, pair: Pair, undisturbed: Result
) -> None:
    pair.holder.at(moment, killed(pair.holder, after=after))
    holder, standby = pair.start()
    assert holder.wait() == -signal.SIGKILL, holder.output + holder.errors
    assert standby.wait() == 0, standby.output + standby.errors
    assert pair.completed_by() == STANDBY
    assert pair.trainer.result() == undisturbed
    assert_complete(pair.checkpoints)


@pytest.mark.parametrize(
    ("moment", "after"),
    [
        pytest.param(REQUESTED, False, marks=pytest.mark.chaos),
        (REQUESTED, True),
        pytest.param(ACCEPTED, False, marks=pytest.mark.chaos),
    ],
)
def test_the_holder_continues_if_the_standby_dies_before_it_accepts(
    moment: Sequence[Where], after: bool, pair: Pair, undisturbed: Result
) -> None:
    pair.standby.at(moment, killed(pair.standby, after=after))
    holder, standby = pair.start()
    assert standby.wait() == -signal.SIGKILL, standby.output + standby.errors
    assert holder.wait() == 0, holder.output + holder.errors
    assert pair.completed_by() == HOLDER
    assert pair.trainer.result() == undisturbed


@pytest.mark.parametrize(
    ("moment", "after"), [(ACCEPTED, True), pytest.param(FIRST_SAVE, False, marks=pytest.mark.chaos)]
)
def test_the_next_attempt_continues_if_the_standby_dies_after_it_accepted(
    moment: Sequence[Where], after: bool, pair: Pair, undisturbed: Result
) -> None:
    pair.standby.at(moment, killed(pair.standby, after=after))
    holder, standby = pair.start()
    assert standby.wait() == -signal.SIGKILL, standby.output + standby.errors
    assert "handed over to a5.1" in error_line(holder, 75)
    handed_over_at = pair.newest().step
    assert f"at step {handed_over_at}" in holder.errors
    assert pair.completed_by() == NEXT
    assert pair.trainer.result() == undisturbed


@pytest.mark.chaos
@pytest.mark.parametrize(("side_name", "moment"), [("holder", OFFERED), ("standby", ACCEPTED)])
def test_the_next_attempt_continues_if_both_die(
    side_name: str, moment: Sequence[Where], pair: Pair, undisturbed: Result
) -> None:
    side = pair.holder if side_name == "holder" else pair.standby
    side.at(moment, killed(pair.holder, pair.standby, after=True))
    for process in pair.start():
        assert process.wait() == -signal.SIGKILL, process.output + process.errors
    handed_over_at = pair.newest().step
    assert pair.completed_by() == NEXT
    assert pair.trainer.result() == undisturbed
    assert handed_over_at > 0


@pytest.mark.chaos
def test_a_holder_that_starts_late_leaves_the_run_to_its_standby(pair: Pair, undisturbed: Result) -> None:
    standby = pair.standby.start("--standby", HOLDER)
    wait_for(standby, r"checkpoint durable")
    assert "attempt a4 was replaced: the lease of run default is a5.1's" in error_line(pair.holder.start(), 75)
    assert standby.wait() == 0, standby.output + standby.errors
    assert pair.completed_by() == STANDBY
    assert pair.trainer.result() == undisturbed


@pytest.mark.chaos
def test_the_offer_of_a_stopped_holder_is_accepted_at_once(pair: Pair, undisturbed: Result) -> None:
    pair.holder.at(OFFERED, lambda: pair.holder.started.result().kill(signal.SIGTERM))
    holder, standby = pair.start()
    assert holder.wait() in {75, 143}, holder.output + holder.errors
    assert standby.wait() == 0, standby.output + standby.errors
    assert pair.completed_by() == STANDBY
    assert pair.trainer.result() == undisturbed


def test_a_late_commit_of_a_replaced_holder_does_not_count(pair: Pair, undisturbed: Result) -> None:
    """The holder is frozen during a commit, which reaches the store after a commit of the standby."""
    replaced = threading.Event()
    steps: list[int] = []

    def frozen(request: Request) -> Fault | None:
        if is_commit(request) and pair.standby.started.done() and not steps:
            commit = paths.commit_of_manifest(request.name)
            assert commit
            pair.holder.started.result().kill(signal.SIGSTOP)
            steps.append(commit.step)
            assert replaced.wait(60)
        return None

    pair.holder.proxy.rule = frozen
    holder = pair.holder.start("--checkpoint-interval", "0.1")
    wait_for(holder, r"checkpoint durable")
    standby = pair.standby.start("--standby", HOLDER, "--checkpoint-interval", "0.1")
    wait_for(standby, r"hand-over complete")
    wait_for(standby, r"checkpoint durable")
    replaced.set()
    before = manifest.commits(pair.checkpoints, RUN)
    holder.kill(signal.SIGCONT)
    assert "process a5.1 holds the lease of run default" in error_line(holder, 75)
    assert standby.wait() == 0, standby.output + standby.errors
    late = [commit for commit in before if commit.token == 1 and commit.step >= steps[0]]
    assert late == []
    assert all(commit.token > 1 or commit.step < steps[0] for commit in manifest.commits(pair.checkpoints, RUN))
    assert pair.completed_by() == STANDBY
    assert pair.trainer.result() == undisturbed
    assert_complete(pair.checkpoints)
