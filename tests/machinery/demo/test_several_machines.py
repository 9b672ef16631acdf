"""Rehearse runs of two machines with two ranks each: whatever ends a machine, model, deadline and cost are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from spot.config.load import parse
from spot.core.run import Outcome, Run
from spot.demo.environment import BUCKET, REGIONS, Environment, settings_text
from spot.demo.runner import Rehearsal, TrainingView
from tests.machinery.demo.rehearsals import OPTIONS, assert_succeeded, rehearse

pytestmark = pytest.mark.rehearsals

MACHINES = 2
SEVERAL = replace(OPTIONS, machines=MACHINES, ranks=2)
Harm = Callable[[Rehearsal, TrainingView], None]


def preempts(*, save: bool, replica: int | None) -> Harm:
    return lambda rehearsal, view: rehearsal.jobs.preempt(view.job, save=save, replica=replica)


HARMS: dict[str, Harm] = {
    "a warning to the second machine": preempts(save=True, replica=1),
    "a warning to both": preempts(save=True, replica=None),
    "the first killed": preempts(save=False, replica=0),
    "the second killed": preempts(save=False, replica=1),
    "both killed": preempts(save=False, replica=None),
    "the link of the second down": lambda rehearsal, view: rehearsal.machines(view.job)[1].disconnect(),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_machine_that_ends_costs_neither_model_nor_deadline_nor_more_than_its_hours(harm: str) -> None:
    harmed = list[str]()

    def play(_: Environment, rehearsal: Rehearsal) -> Iterator[None]:
        for share in (0.3, 0.6):
            while not (
                (view := rehearsal.training())
                and view.attempt not in harmed
                and view.durable_step > 0
                and view.step >= share * view.total_steps
            ):
                yield
            harmed.append(view.attempt)
            HARMS[harm](rehearsal, view)

    rehearsed = rehearse(SEVERAL, play)

    run = assert_succeeded(rehearsed)
    assert [attempt.outcome for attempt in run.attempts] == [Outcome.PREEMPTED] * 2 + [Outcome.SUCCEEDED]
    assert all(attempt.from_step > 0 for attempt in run.attempts[1:])
    assert rehearsed.result.account.usd == pytest.approx(MACHINES * usd_of_one_machine(run))


def test_the_scenario_of_several_machines_ends_in_time_with_the_same_model() -> None:
    rehearsed = rehearse(SEVERAL)
    assert_succeeded(rehearsed)
    assert any("loses its network" in event.text for event in rehearsed.events)


def usd_of_one_machine(run: Run) -> float:
    assert run.ended_at
    prices = parse(settings_text(REGIONS, BUCKET, 1), "the rehearsal").policy_config()
    hours = [(attempt.region, attempt.provisioning, attempt.billed_hours(run.ended_at)) for attempt in run.attempts]
    return sum((prices.price(region, provisioning) or 0.0) * billed for region, provisioning, billed in hours)
