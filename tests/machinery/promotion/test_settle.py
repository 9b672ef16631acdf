"""Test promotions and rollbacks: killed around every call of the store, repeated and raced, on both stores."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from spot.config.settings import GateSettings
from spot.core.errors import Exit
from spot.promotion.rule import GateDecision, GateVerdict
from spot.promotion.settle import PromotionError, promote, rollback, settle
from spot.storage.base import ABSENT, Conflict, Damaged, Store
from spot.storage.factory import open_store
from spot.storage.records import champion
from spot.storage.records.champion import NAME, Champion, PromotedBy
from tests.machinery.promotion import promoters
from tests.machinery.promotion.measured import alone, evaluation, measured
from tests.machinery.promotion.trained import better, finish
from tests.machinery.samples import after
from tests.machinery.supervisor.crashes import Killed, dying
from tests.machinery.supervisor.watched import WatchedStore, When

GATE = GateSettings()
NOW = after(hours=1)
GONE = "does not exist any more as it was promoted"


@pytest.fixture
def models(uri: str) -> Store:
    return open_store(f"{uri}/models")


def settled(store: Store, models: Store, run: str) -> GateDecision:
    found = settle(store, models, run, GATE, NOW)
    assert found
    return found


def promoted(store: Store, models: Store, *runs: str) -> None:
    """Let each run become champion by the gate."""
    for run in runs:
        finish(models, better(run, known(store).run), run)
        assert settled(store, models, run).verdict is GateVerdict.PROMOTE


def known(store: Store) -> Champion:
    return champion.read(store)[0]


def history(store: Store) -> list[tuple[str, str]]:
    return [(one.run, one.how) for one in known(store).promotions]


def deaths(act: Callable[[Callable[[Store], Store]], object], prepare: Callable[[], object]) -> Iterator[None]:
    """Kill `act` before and after each of its calls in turn, and yield after each death."""
    for number, when in ((number, when) for number in itertools.count(1) for when in When):
        prepare()
        calls: list[str] = []
        try:
            act(partial(WatchedStore, around=dying(number, when, calls)))
        except Killed:
            yield
        else:
            assert number > len(calls) >= 3
            return


def test_a_promotion_killed_around_any_call_is_made_once_by_the_next_pass(store: Store, models: Store) -> None:
    promoted(store, models, "r0")
    names = (f"r{number}" for number in itertools.count(1))
    run, count = "", 1

    def prepare() -> None:
        nonlocal run
        run = next(names)
        finish(models, better(run, known(store).run), run)

    for _ in deaths(lambda wrap: settle(wrap(store), wrap(models), run, GATE, NOW), prepare):
        count += 1
        decisions = {settled(store, models, run), settled(store, models, run)}
        assert [one.verdict for one in decisions] == [GateVerdict.PROMOTE]
        assert (known(store).run, len(known(store).promotions)) == (run, count)
    assert [one.number for one in known(store).promotions] == list(range(count + 1, 0, -1))


def test_a_persons_promotion_killed_around_any_call_is_made_once_when_repeated(store: Store, models: Store) -> None:
    promoted(store, models, "r0")
    names = (f"r{number}" for number in itertools.count(1))
    run = ""

    def prepare() -> None:
        nonlocal run
        run = next(names)
        finish(models, None, run)

    def act(wrap: Callable[[Store], Store]) -> Champion:
        return promote(wrap(store), wrap(models), run, NOW, by="ann", reason="a demonstration")

    for _ in deaths(act, prepare):
        assert act(lambda whole: whole) == act(lambda whole: whole)
        assert [one for one, _ in history(store)].count(run) == 1
        assert known(store).run == run


def test_a_rollback_killed_around_any_call_is_made_once_when_repeated(store: Store, models: Store) -> None:
    names = (f"r{number}" for number in itertools.count(1))

    def act(wrap: Callable[[Store], Store]) -> Champion:
        return rollback(wrap(store), wrap(models), NOW, by="ann", reason="wrong labels")

    for _ in deaths(act, lambda: promoted(store, models, next(names), next(names))):
        good, bad = [run for run, how in history(store) if how is PromotedBy.GATE][1::-1]
        assert act(lambda whole: whole) == act(lambda whole: whole)
        assert history(store)[:2] == [(good, PromotedBy.ROLLBACK), (bad, PromotedBy.GATE)]


def test_of_many_challengers_of_one_champion_one_is_promoted_and_the_others_ask(store: Store, models: Store) -> None:
    promoted(store, models, "first")
    runs = [f"c{number}" for number in range(promoters.PROCESSES)]
    for run in runs:
        finish(models, better(run, "first"), run)
    verdicts = race(store, *runs)
    assert sorted(verdicts) == ["ask"] * (len(runs) - 1) + ["promote"]
    assert len(known(store).promotions) == 2


def test_many_passes_over_one_run_promote_it_once(store: Store, models: Store) -> None:
    promoted(store, models, "first")
    finish(models, better("second", "first"), "second")
    assert set(race(store, *["second"] * promoters.PROCESSES)) == {"promote"}
    assert history(store) == [("second", PromotedBy.GATE), ("first", PromotedBy.GATE)]


def race(store: Store, *runs: str) -> list[str]:
    """Settle each run in a process of its own, all at once, and return the verdicts."""
    command = [sys.executable, "-P", promoters.__file__, store.uri, *runs]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def between(store: Store, meanwhile: Callable[[], object]) -> Store:
    """Let something happen between the reads and the first write."""
    waiting = [meanwhile]

    def around(what: str, effect: Callable[[], Any]) -> Any:
        if what.startswith("write") and waiting:
            waiting.pop()()
        return effect()

    return WatchedStore(store, around)


def test_a_promotion_that_a_rollback_overtakes_asks(store: Store, models: Store) -> None:
    promoted(store, models, "a", "b")
    finish(models, better("c", "b"), "c")
    raced = between(store, lambda: rollback(store, models, NOW, by="ann", reason="wrong labels"))
    assert settled(raced, models, "c") == GateDecision(
        verdict=GateVerdict.ASK, reason="compared with b, and the champion is a"
    )
    assert known(store).run == "a"


def test_a_rollback_that_a_promotion_overtakes_changes_nothing(store: Store, models: Store) -> None:
    """It would bring back the model that the person wants to leave."""
    promoted(store, models, "a", "b")
    raced = between(store, lambda: promoted(store, models, "c"))
    with pytest.raises(PromotionError, match="no longer b: nothing was changed") as raised:
        rollback(raced, models, NOW, by="ann", reason="wrong labels")
    assert raised.value.exit_code is Exit.AGAIN
    assert known(store).run == "c"


def test_a_person_promotes_also_against_a_promotion_at_the_same_time(store: Store, models: Store) -> None:
    promoted(store, models, "a")
    finish(models, None, "b")
    raced = between(store, lambda: promoted(store, models, "c"))
    assert promote(raced, models, "b", NOW, by="ann", reason="a demonstration").run == "b"
    assert [run for run, _ in history(store)] == ["b", "c", "a"]


def test_a_run_that_was_rolled_back_is_promoted_by_a_person_only(store: Store, models: Store) -> None:
    promoted(store, models, "a", "b")
    rollback(store, models, NOW, by="ann", reason="wrong labels")
    settled(store, models, "b")
    assert known(store).run == "a"
    assert promote(store, models, "b", NOW, by="ann", reason="the labels were right").run == "b"


def test_rollbacks_go_back_step_by_step_and_end_at_the_first(store: Store, models: Store) -> None:
    promoted(store, models, "a", "b", "c")
    assert rollback(store, models, NOW, by="ann", reason="bad").run == "b"
    assert rollback(store, models, NOW, by="ann", reason="worse").run == "a"
    with pytest.raises(PromotionError, match="there was no champion before a"):
        rollback(store, models, NOW, by="ann", reason="worst")


def test_a_rollback_leads_to_any_earlier_champion(store: Store, models: Store) -> None:
    promoted(store, models, "a", "b", "c")
    assert rollback(store, models, NOW, by="ann", reason="bad", to="a").run == "a"
    before = known(store)
    assert rollback(store, models, NOW, by="ben", reason="again", to="a") == before
    with pytest.raises(PromotionError, match="x was never the champion"):
        rollback(store, models, NOW, by="ann", reason="bad", to="x")


@pytest.mark.parametrize("name", ["model/model.safetensors", "model/config.json"])
def test_no_rollback_leads_to_a_model_that_was_deleted_or_overwritten(store: Store, models: Store, name: str) -> None:
    promoted(store, models, "a", "b")
    models.delete(f"a/{name}")
    with pytest.raises(PromotionError, match=GONE):
        rollback(store, models, NOW, by="ann", reason="bad")
    models.write(f"a/{name}", name.encode(), if_generation=ABSENT)
    with pytest.raises(PromotionError, match=GONE):
        rollback(store, models, NOW, by="ann", reason="bad")
    assert known(store).run == "b"


def test_a_run_without_measurements_and_without_champion_is_not_decided(store: Store, models: Store) -> None:
    finish(models, None, "a")
    assert settle(store, models, "a", GATE, NOW) is None
    assert known(store) == Champion()


@pytest.mark.parametrize("name", ["evaluation.json", "completion.json"])
def test_a_damaged_record_of_a_run_asks_and_concerns_no_other(store: Store, models: Store, name: str) -> None:
    promoted(store, models, "first")
    finish(models, better("a", "first"), "a")
    entry = next(one for one in models.list(f"a/{name}"))
    models.write(f"a/{name}", b"{}", if_generation=entry.generation)
    assert settled(store, models, "a").verdict is GateVerdict.ASK
    promoted(store, models, "b")


def test_a_run_without_a_completion_record_is_never_promoted(store: Store, models: Store) -> None:
    assert settled(store, models, "a").verdict is GateVerdict.ASK
    with pytest.raises(PromotionError, match="run a has no model"):
        promote(store, models, "a", NOW, by="ann", reason="hope")


def test_a_damaged_record_of_the_champion_is_never_replaced(store: Store, models: Store) -> None:
    store.write(NAME, b'{"format": 1, "promotions": [{}]}', if_generation=ABSENT)
    finish(models, alone(run="a"), "a")
    for act in (
        lambda: settle(store, models, "a", GATE, NOW),
        lambda: promote(store, models, "a", NOW, by="ann", reason="hope"),
        lambda: rollback(store, models, NOW, by="ann", reason="hope"),
    ):
        with pytest.raises(Damaged, match=r"champion\.json is not a record of promotions"):
            act()


def test_the_promotion_pins_every_file_of_the_model_and_has_the_score(store: Store, models: Store) -> None:
    promoted(store, models, "first")
    now = known(store).now
    assert now
    assert (now.uri, now.score, now.how, now.at) == (f"{models.uri}/first", 0.9, PromotedBy.GATE, NOW)
    document = json.loads(store.read(NAME).data)["promotions"][0]
    for name in ("model/config.json", "model/model.safetensors"):
        entry = next(one for one in models.list(f"first/{name}"))
        assert document["model"][name]["generation"] == entry.generation
    assert set(document["model"]) == {"model/config.json", "model/model.safetensors"}


def test_a_model_that_is_not_better_is_not_promoted(store: Store, models: Store) -> None:
    promoted(store, models, "first")
    finish(models, evaluation(measured(2, 20, 1000), run="a", champion="first"), "a")
    assert settled(store, models, "a").verdict is GateVerdict.KEEP
    assert known(store).run == "first"


def test_a_lost_reply_to_the_write_is_no_second_promotion(store: Store, models: Store) -> None:
    """The retry inside of a store finds its own write; here the caller repeats everything."""
    promoted(store, models, "first")
    finish(models, better("a", "first"), "a")

    def around(what: str, effect: Callable[[], Any]) -> Any:
        result = effect()
        if what.startswith("write"):
            raise Conflict("the first try had taken effect")
        return result

    assert settled(WatchedStore(store, around), models, "a").verdict is GateVerdict.PROMOTE
    assert history(store) == [("a", PromotedBy.GATE), ("first", PromotedBy.GATE)]
