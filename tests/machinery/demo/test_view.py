"""The view shows what happened in a rehearsal, and its end in three lines."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from rich.console import Console, RenderableType

from spot.accounting.cost import account
from spot.core.run import Outcome, Provisioning, Run, RunState
from spot.demo.runner import Comparison, Event, Result
from spot.demo.view import attempts, ending, print_event, since
from spot.demo.virtual_clock import EPOCH
from tests.machinery.samples import attempt, ended, run, seen

SAME = Comparison(metric="accuracy", value=0.99, steps=600, same_weights=True, same_metrics=True, same_order=True)
PRICES = {"us-central1": {Provisioning.SPOT: 0.5, Provisioning.ON_DEMAND: 1.0}}


def at(hours: float = 0, minutes: float = 0) -> datetime:
    """Return the moment this long after the submit of the rehearsed run."""
    return EPOCH + timedelta(hours=hours, minutes=minutes)


KILLED = ended(
    Outcome.PREEMPTED,
    intended_at=at(),
    started_at=at(minutes=6),
    at=at(hours=2, minutes=6),
    from_step=0,
    last_step=60,
    advanced_at=at(minutes=10),
    saved_at=at(hours=2),
)
LAST = ended(
    Outcome.SUCCEEDED,
    intended_at=at(hours=3),
    started_at=at(hours=3, minutes=6),
    at=at(hours=9),
    from_step=60,
    last_step=600,
    advanced_at=at(hours=3, minutes=10),
)
RUN = run(
    KILLED,
    LAST,
    usd_per_hour=PRICES,
    state=RunState.SUCCEEDED,
    submitted_at=EPOCH,
    deadline=at(hours=24),
    ended_at=at(9),
)
END = at(hours=9)
REACHED = {"a1": 75, "a2": 600}
EVENT = Event(at=at(hours=1, minutes=5), text="supervisor: submit spot in us-central1", detail="slack 5.8 h > 1.4 h")


def result(
    run: Run = RUN,
    comparison: Comparison | None = SAME,
    *,
    reached: Mapping[str, int] = REACHED,
    completed_at: datetime = END,
) -> Result:
    observation = seen(10, completed_at=completed_at, at=completed_at, attempt="a2")
    return Result(account=account(run, observation, completed_at), reached=reached, comparison=comparison)


def shown(what: RenderableType, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_steps_that_were_made_and_not_saved_are_lost() -> None:
    first, second = [
        line.split() for line in shown(attempts(result())).splitlines() if " a1 " in line or " a2 " in line
    ]
    assert first[-4:] == ["preempted", "0-75", "15", "$1.00"]
    assert second[-4:] == ["succeeded", "60-600", "0", "$2.95"]


def test_steps_that_were_saved_and_not_told_of_count_as_made() -> None:
    assert "0-60" in shown(attempts(result(reached={"a1": 50, "a2": 600})))


def test_an_attempt_that_never_ran_made_no_steps() -> None:
    waiting = run(attempt(intended_at=at()), submitted_at=EPOCH, deadline=at(hours=24))
    assert "0-" not in shown(attempts(result(waiting, reached={})))


def test_at_80_columns_nothing_is_cut_and_every_attempt_is_one_line() -> None:
    on_demand = replace(LAST, id="a11", provisioning=Provisioning.ON_DEMAND, outcome=Outcome.OUT_OF_MEMORY)
    longest = replace(RUN, attempts=(KILLED, on_demand))

    text = shown(ending(result(longest, reached={"a1": 75, "a11": 600})), width=80)

    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "+3:00 a11 on-demand us-central1 6 min 5.9 h out-of-memory 60-600 0 $5.90" in lines


def test_the_end_is_cost_deadline_and_weights_in_a_line_each() -> None:
    lines = shown(ending(result())).splitlines()
    assert "600 steps, 15 of them computed twice; accuracy 0.9900 on held-out data" in lines
    cost, deadline, weights = lines[-3:]
    assert cost.startswith("cost      $3.95, on demand $")
    assert cost.endswith(" saved")
    assert deadline == "deadline  met, 15.0 h to spare"
    assert weights == "weights   identical to an uninterrupted training, metrics and order too"


def test_the_end_hides_neither_lateness_nor_a_difference_nor_a_higher_cost() -> None:
    dear = {"us-central1": {Provisioning.SPOT: 2.0, Provisioning.ON_DEMAND: 1.0}}
    spec = replace(RUN.spec, policy=replace(RUN.spec.policy, usd_per_hour=dear))
    found = result(replace(RUN, spec=spec), replace(SAME, same_weights=False), completed_at=at(hours=25))
    cost, deadline, weights = shown(ending(found)).splitlines()[-3:]
    assert cost.endswith(" MORE")
    assert deadline == "deadline  60 min LATE"
    assert weights == "weights   DIFFERENT, metrics identical, order identical"
    assert not found.succeeded


def test_a_run_without_a_price_has_no_cost() -> None:
    spec = replace(RUN.spec, policy=replace(RUN.spec.policy, usd_per_hour={}))
    assert "cost: no price is known" in shown(ending(result(replace(RUN, spec=spec))))


@pytest.mark.parametrize(
    "comparison", [None, replace(SAME, same_weights=False), replace(SAME, same_metrics=False)], ids=str
)
def test_only_a_run_with_the_same_model_succeeds(comparison: Comparison | None) -> None:
    assert result().succeeded
    assert not result(comparison=comparison).succeeded


def test_a_run_that_failed_is_said_to_have_failed() -> None:
    failed = replace(RUN, state=RunState.FAILED)
    assert f"run {RUN.id} ended: failed" in shown(ending(result(failed, None)))


def test_each_event_is_one_line_without_its_reason() -> None:
    out = io.StringIO()
    console = Console(file=out, width=60)
    print_event(console, EVENT)
    print_event(console, Event(at=at(hours=10), text="x" * 200))
    first, second = out.getvalue().splitlines()
    assert first == "   +1:05  supervisor: submit spot in us-central1"
    assert second.startswith("  +10:00  xxx")
    assert len(second) == 60


def test_verbose_adds_the_whole_reason() -> None:
    out = io.StringIO()
    print_event(Console(file=out, width=60), EVENT, verbose=True)
    assert "us-central1: slack 5.8 h > 1.4 h" in out.getvalue().replace("\n", "")


def test_time_is_counted_from_the_submit() -> None:
    assert since(at(hours=3, minutes=5.9)) == "+3:05"
    assert since(at(hours=11)) == "+11:00"
