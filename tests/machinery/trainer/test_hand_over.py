"""A warm hand-over between real trainers, and the death of either at each of its steps: always the same model."""

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
from spot.storage.records import lease, manifest
from spot.storage.records.manifest import Manifest
from tests.machinery.proxy import Fault, LostReply, Proxy, Request, Reset
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.trainer.faults import RUN, Result, assert_whole, is_commit, is_part, said
from tests.machinery.trainer.test_signals import wait_for
from tests.machinery.zygote import Life, Zygote

SPEED = "40"
FLAGS = ("--epochs", "20", "--checkpoint-interval", "0.3", "--log-interval", "0.3")
HOLDER, TWIN, NEXT = "a4", "a5", "a6"
Where = Callable[[Request], bool]


def is_lease(request: Request) -> bool:
    return request.is_upload and request.name.endswith("/writer.json")


@dataclass(slots=True)
class Side:
    """The holder, or its successor: each reaches the store in its own way."""

    trainer: Trainer
    proxy: Proxy
    attempt: str
    life: Future[Life] = field(default_factory=Future)

    def start(self, *flags: str) -> Life:
        env = {"STORAGE_EMULATOR_HOST": self.proxy.url, "LEASE_SPEED": SPEED}
        self.life.set_result(replace(self.trainer, env=env).start(*FLAGS, "--attempt", self.attempt, *flags))
        return self.life.result()

    def kill(self) -> None:
        self.life.result().kill()

    def at(self, moment: Sequence[Where], happens: Callable[[], Fault | None]) -> None:
        """When a request of each of these kinds was made, in this order, the last one meets what happens."""
        left = list(moment)

        def rule(request: Request) -> Fault | None:
            if left and left[0](request):
                del left[0]
                if not left:
                    return happens()
            return None

        self.proxy.rule = rule


@dataclass(frozen=True, slots=True)
class Pair:
    """A run, its holder, and the successor that is started once the holder has saved something."""

    trainer: Trainer
    holder: Side
    twin: Side

    def start(self) -> tuple[Life, Life]:
        holder = self.holder.start()
        wait_for(holder, r"checkpoint durable")
        return holder, self.twin.start("--standby", HOLDER)

    @property
    def checkpoints(self) -> Store:
        return open_store(f"{self.trainer.uri}/checkpoints")

    def completed_by(self) -> str:
        """The attempt that did; the next one is started if neither could."""
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
    with Proxy(emulator_url) as one, Proxy(emulator_url) as other:
        yield Pair(trainer, Side(trainer, one, HOLDER), Side(trainer, other, TWIN))


@pytest.fixture(scope="session")
def undisturbed_longer(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Result:
    trainer = Trainer(zygote, str(tmp_path_factory.mktemp("longer")))
    assert trainer.start(*FLAGS).wait() == 0
    return trainer.result()


def killed(*sides: Side, after: bool) -> Callable[[], Fault]:
    """All at once: before the request has taken effect, or after."""

    def kill() -> None:
        for side in sides:
            side.kill()

    def happens() -> Fault:
        if after:
            return LostReply(kill)
        kill()
        return Reset()

    return happens


BEAT = [is_lease, is_lease]  # after its claim
SAVED = [*BEAT, is_commit]
OFFERED = [*SAVED, is_lease]
ASKED = [is_lease]
ACCEPTED = [is_lease, is_lease]
FIRST_SAVE = [*ACCEPTED, is_part]


def test_the_successor_goes_on_at_the_very_step_the_holder_left(pair: Pair, undisturbed_longer: Result) -> None:
    frozen = threading.Event()

    def freeze() -> None:
        pair.twin.life.result().kill(signal.SIGSTOP)
        frozen.set()

    pair.twin.at(FIRST_SAVE, freeze)
    holder, twin = pair.start()
    line = said(holder, 75)
    handed_over = re.fullmatch(r"trainer: handed over to a5\.1 at step (\d+)", line)
    assert handed_over, line
    marker = json.loads(pair.checkpoints.read(paths.marker(RUN, HOLDER, 1, "ended")).data)
    assert (marker["exit_code"], marker["reason"]) == (75, line.removeprefix("trainer: "))
    assert marker["durable_step"] == int(handed_over[1])
    # Vertex AI may start the holder's container again: it does not take the run back.
    assert frozen.wait(60)
    again = pair.trainer.start(*FLAGS, "--attempt", HOLDER)
    assert "attempt a4 was replaced: the lease of run default is a5.1's" in said(again, 75)
    twin.kill(signal.SIGCONT)
    assert twin.wait() == 0, twin.output + twin.errors
    assert re.search(r"step \d+: standby", twin.output)
    assert f"step {handed_over[1]} of 460: resumed from the checkpoint of run default attempt a4" in twin.output
    assert pair.completed_by() == TWIN
    assert pair.trainer.result() == undisturbed_longer
    assert_whole(pair.checkpoints)


@pytest.mark.parametrize(
    ("moment", "after"),
    [
        pytest.param(BEAT, True, marks=pytest.mark.chaos),
        pytest.param(SAVED, False, marks=pytest.mark.chaos),
        (SAVED, True),
        pytest.param(OFFERED, False, marks=pytest.mark.chaos),
        (OFFERED, True),
    ],
)
def test_when_the_holder_dies_the_successor_goes_on_by_itself(
    moment: Sequence[Where], after: bool, pair: Pair, undisturbed_longer: Result
) -> None:
    pair.holder.at(moment, killed(pair.holder, after=after))
    holder, twin = pair.start()
    assert holder.wait() == -signal.SIGKILL, holder.output + holder.errors
    assert twin.wait() == 0, twin.output + twin.errors
    assert pair.completed_by() == TWIN
    assert pair.trainer.result() == undisturbed_longer
    assert_whole(pair.checkpoints)


@pytest.mark.parametrize(
    ("moment", "after"),
    [
        pytest.param(ASKED, False, marks=pytest.mark.chaos),
        (ASKED, True),
        pytest.param(ACCEPTED, False, marks=pytest.mark.chaos),
    ],
)
def test_when_the_successor_dies_before_it_has_accepted_the_holder_goes_on(
    moment: Sequence[Where], after: bool, pair: Pair, undisturbed_longer: Result
) -> None:
    pair.twin.at(moment, killed(pair.twin, after=after))
    holder, twin = pair.start()
    assert twin.wait() == -signal.SIGKILL, twin.output + twin.errors
    assert holder.wait() == 0, holder.output + holder.errors
    assert pair.completed_by() == HOLDER
    assert pair.trainer.result() == undisturbed_longer


@pytest.mark.parametrize(
    ("moment", "after"), [(ACCEPTED, True), pytest.param(FIRST_SAVE, False, marks=pytest.mark.chaos)]
)
def test_when_the_successor_dies_after_that_the_next_attempt_goes_on(
    moment: Sequence[Where], after: bool, pair: Pair, undisturbed_longer: Result
) -> None:
    pair.twin.at(moment, killed(pair.twin, after=after))
    holder, twin = pair.start()
    assert twin.wait() == -signal.SIGKILL, twin.output + twin.errors
    assert "handed over to a5.1" in said(holder, 75)
    left = pair.newest().step
    assert f"at step {left}" in holder.errors
    assert pair.completed_by() == NEXT
    assert pair.trainer.result() == undisturbed_longer


@pytest.mark.chaos
@pytest.mark.parametrize(("who", "moment"), [("holder", OFFERED), ("twin", ACCEPTED)])
def test_when_both_die_the_next_attempt_goes_on(
    who: str, moment: Sequence[Where], pair: Pair, undisturbed_longer: Result
) -> None:
    side = pair.holder if who == "holder" else pair.twin
    side.at(moment, killed(pair.holder, pair.twin, after=True))
    for life in pair.start():
        assert life.wait() == -signal.SIGKILL, life.output + life.errors
    left = pair.newest().step
    assert pair.completed_by() == NEXT
    assert pair.trainer.result() == undisturbed_longer
    assert left > 0


def test_a_holder_that_comes_late_leaves_the_run_to_its_successor(pair: Pair, undisturbed_longer: Result) -> None:
    twin = pair.twin.start("--standby", HOLDER)
    wait_for(twin, r"checkpoint durable")
    assert "attempt a4 was replaced: the lease of run default is a5.1's" in said(pair.holder.start(), 75)
    assert twin.wait() == 0, twin.output + twin.errors
    assert pair.completed_by() == TWIN
    assert pair.trainer.result() == undisturbed_longer


@pytest.mark.chaos
def test_a_successor_that_is_stopped_leaves_the_holder_alone(pair: Pair, undisturbed_longer: Result) -> None:
    holder = pair.holder.start()
    wait_for(holder, r"checkpoint durable")
    holder.kill(signal.SIGSTOP)
    pair.twin.at(ASKED, lambda: pair.twin.life.result().kill(signal.SIGTERM))
    twin = pair.twin.start("--standby", HOLDER)
    assert twin.wait() == 143, twin.output + twin.errors
    held = lease.read(pair.checkpoints, RUN)
    assert held
    assert (held.attempt, held.successor) == (HOLDER, None)
    holder.kill(signal.SIGCONT)
    assert holder.wait() == 0
    assert "offering" not in holder.output
    assert pair.trainer.result() == undisturbed_longer


@pytest.mark.chaos
def test_what_a_stopped_holder_has_offered_is_accepted_at_once(pair: Pair, undisturbed_longer: Result) -> None:
    pair.holder.at(OFFERED, lambda: pair.holder.life.result().kill(signal.SIGTERM))
    holder, twin = pair.start()
    assert holder.wait() in {75, 143}, holder.output + holder.errors
    assert twin.wait() == 0, twin.output + twin.errors
    assert pair.completed_by() == TWIN
    assert pair.trainer.result() == undisturbed_longer


def test_what_a_frozen_holder_commits_after_it_was_relieved_does_not_count(
    pair: Pair, undisturbed_longer: Result
) -> None:
    """It is frozen in the middle of a commit, which reaches the store when the successor has committed."""
    relieved = threading.Event()
    steps: list[int] = []

    def frozen(request: Request) -> Fault | None:
        if is_commit(request) and pair.twin.life.done() and not steps:
            commit = paths.commit_of_manifest(request.name)
            assert commit
            pair.holder.life.result().kill(signal.SIGSTOP)
            steps.append(commit.step)
            assert relieved.wait(60)
        return None

    pair.holder.proxy.rule = frozen
    holder = pair.holder.start("--checkpoint-interval", "0.01")
    wait_for(holder, r"checkpoint durable")
    twin = pair.twin.start("--standby", HOLDER, "--checkpoint-interval", "0.01")
    wait_for(twin, r"hand-over complete")
    wait_for(twin, r"checkpoint durable")
    relieved.set()
    before = manifest.commits(pair.checkpoints, RUN)
    holder.kill(signal.SIGCONT)
    assert "process a5.1 holds the lease of run default" in said(holder, 75)
    assert twin.wait() == 0, twin.output + twin.errors
    late = [commit for commit in before if commit.token == 1 and commit.step >= steps[0]]
    assert late == []
    assert all(commit.token > 1 or commit.step < steps[0] for commit in manifest.commits(pair.checkpoints, RUN))
    assert pair.completed_by() == TWIN
    assert pair.trainer.result() == undisturbed_longer
    assert_whole(pair.checkpoints)
