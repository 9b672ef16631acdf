"""What is shown of a rehearsal is what happened in it."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

from rich.console import Console, RenderableType

from spot.core.run import Decision, Outcome, Provisioning, RunState
from spot.demo.comparison import Comparison
from spot.demo.runner import Result, Snapshot
from spot.demo.view import Timeline, attempts, ending, since
from tests.machinery.samples import T0, after, attempt, ended, run, seen

SAME = Comparison(score_name="accuracy", score=0.99, steps=600, same_weights=True, same_metrics=True, same_order=True)
PRICES = {"us-central1": {Provisioning.SPOT: 0.5, Provisioning.ON_DEMAND: 1.0}}
KILLED = ended(Outcome.PREEMPTED, started_at=after(minutes=6), at=after(hours=2, minutes=6), from_step=0, last_step=60)
LAST = ended(Outcome.SUCCEEDED, intended_at=after(hours=3), at=after(hours=9), from_step=60, last_step=600)
RUN = run(
    KILLED,
    LAST,
    usd_per_hour=PRICES,
    state=RunState.SUCCEEDED,
    decisions=(Decision(at=T0, action="submit spot in us-central1", reason="slack 5.8 h > 1.4 h"),),
)
SNAPSHOT = Snapshot(
    now=after(hours=9), run=RUN, seen=seen(10, completed_at=after(hours=9)), reached={"a1": 75, "a2": 600}
)


def shown(what: RenderableType, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_steps_that_were_made_and_not_saved_are_lost() -> None:
    first, second = [
        line.split() for line in shown(attempts(SNAPSHOT)).splitlines() if " a1 " in line or " a2 " in line
    ]
    assert first[-4:] == ["preempted", "0-75", "15", "$1.00"]
    assert second[-3:] == ["succeeded", "60-600", "0"]


def test_steps_that_were_saved_and_not_told_of_count_as_made() -> None:
    text = shown(attempts(replace(SNAPSHOT, reached={"a1": 50, "a2": 600})))
    assert "0-60" in text


def test_an_attempt_that_never_ran_made_no_steps() -> None:
    snapshot = replace(SNAPSHOT, run=run(attempt()), reached={}, seen=seen())
    assert "0-" not in shown(attempts(snapshot))


def test_the_end_has_every_decision_with_its_reason() -> None:
    text = shown(ending(Result(snapshot=SNAPSHOT, comparison=SAME)))
    assert "submit spot in us-central1" in text
    assert "slack 5.8 h > 1.4 h" in text


def test_at_80_columns_nothing_is_cut_and_every_attempt_is_one_line() -> None:
    on_demand = replace(
        LAST,
        id="a11",
        provisioning=Provisioning.ON_DEMAND,
        started_at=after(hours=3, minutes=6),
        outcome=Outcome.OUT_OF_MEMORY,
    )
    why = "a spot start would end at the safety line: slack 1.6 h < 1.9 h, " * 3
    decision = Decision(at=after(hours=3), action="submit on-demand in us-central1", reason=why)
    snapshot = replace(SNAPSHOT, run=replace(RUN, attempts=(KILLED, on_demand), decisions=(decision,)))
    snapshot = replace(snapshot, reached={"a1": 75, "a11": 600})

    text = shown(ending(Result(snapshot=snapshot, comparison=SAME)), width=80)

    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "+3 h 00 a11 on-demand us-central1 6 min 5.9 h out-of-memory 60-600 0 $5.90" in lines
    assert "+3 h 00 submit on-demand in us-central1 a spot start" in text


def test_the_end_says_when_how_good_and_that_it_made_no_difference() -> None:
    text = shown(ending(Result(snapshot=SNAPSHOT, comparison=SAME)))
    assert "complete at +9 h 00 min, 15.0 h before the deadline; 600 steps, 15 recomputed\naccuracy 0.9900" in text
    assert "weights identical, metrics identical, order identical" in text


def test_the_end_hides_neither_lateness_nor_a_difference() -> None:
    late = replace(SNAPSHOT, seen=seen(10, completed_at=after(hours=25)))
    text = shown(ending(Result(snapshot=late, comparison=replace(SAME, same_weights=False))))
    assert "60 min LATE" in text
    assert "weights DIFFERENT" in text


def test_a_run_that_failed_is_said_to_have_failed() -> None:
    failed = replace(SNAPSHOT, run=replace(RUN, state=RunState.FAILED))
    assert f"run {RUN.id} ended: failed" in shown(ending(Result(snapshot=failed, comparison=None)))


def test_elsewhere_than_on_a_terminal_each_line_is_written_once_with_its_time() -> None:
    out = io.StringIO()
    with Timeline(Console(file=out)) as timeline:
        timeline.log("training")
        timeline.show(replace(SNAPSHOT, now=T0 + timedelta(minutes=65)))
        timeline.log("preempted")
    assert out.getvalue().splitlines() == [f"{'':9}  training", "+1 h 05 min  preempted"]


def test_a_terminal_shows_work_and_time_in_place() -> None:
    out = io.StringIO()
    with Timeline(Console(file=out, force_terminal=True, width=140)) as timeline:
        timeline.log("training")
        timeline.show(SNAPSHOT)
    assert "step 600 of 600" in out.getvalue()
    assert "+9 h 00 min of 24.0 h" in out.getvalue()


def test_time_is_counted_from_the_submit() -> None:
    assert since(after(hours=3, minutes=5), SNAPSHOT) == "+3 h 05 min"
