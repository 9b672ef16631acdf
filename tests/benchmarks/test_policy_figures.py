"""Test the figures computed from the cost of every replay, and when a promise counts as kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.policy_figures import promises, summed
from benchmarks.policy_replays import Cost, Job, Policy
from benchmarks.policy_settings import SETTINGS, SLOW_SETTINGS, TOGETHER, WORK, Setting
from benchmarks.policy_windows import Part, Window

GOOD = {
    Policy.SPOT_WINDOW: 0.400,
    Policy.UNIFORM: 0.370,
    Policy.GREEDY: 0.360,
    Policy.ALONE: 0.360,
    Policy.OURS: 0.340,
    Policy.OPTIMUM: 0.330,
}
COSTS = [
    Cost(
        job=Job(setting=setting, window=Window(start=start, part=part), seed=0, policies=tuple(Policy)),
        policy=policy,
        work=work,
        ratio=ratio * (0.5 if setting.regions == TOGETHER else 1.0),
        missed=False,
        preemptions=start,
    )
    for setting in (*SETTINGS, *SLOW_SETTINGS)
    for start, part in enumerate(Part)
    for policy, ratio in GOOD.items()
    for work in WORK
]


def broken(costs: list[Cost]) -> list[str]:
    return [promise.text for promise in promises(summed(costs), all_of_them=True) if not promise.holds]


def changed(
    policy: Policy,
    setting: Setting | None = None,
    part: Part | None = None,
    *,
    factor: float = 1.0,
    missed: bool = False,
) -> list[Cost]:
    """`COSTS` with those of `policy` changed, in one setting and part or in all."""
    return [
        replace(it, ratio=factor * it.ratio, missed=missed)
        if it.policy is policy and setting in (None, it.job.setting) and part in (None, it.job.window.part)
        else it
        for it in COSTS
    ]


def test_figures_are_means_over_all_runs_of_a_part() -> None:
    of = summed(changed(Policy.OURS, part=Part.HELD_BACK, factor=2.0, missed=True))
    whole, held_back = (of(Policy.OURS, SETTINGS[:1], part) for part in (None, Part.HELD_BACK))
    assert [whole.ratio, held_back.ratio] == pytest.approx([0.51, 0.68])
    assert (whole.missed, whole.runs, held_back.missed) == (4, 8, 4)
    assert (whole.preemptions, held_back.preemptions) == (0.5, 1.0)


def test_all_promises_can_hold() -> None:
    assert broken(COSTS) == []


@pytest.mark.parametrize("policy", [Policy.OURS, Policy.ALONE])
def test_one_missed_deadline_is_too_many(policy: Policy) -> None:
    (text,) = broken(changed(policy, SETTINGS[3], Part.TUNING, missed=True))
    assert text == "no deadline missed"
    (text,) = broken(changed(policy, SLOW_SETTINGS[3], missed=True))
    assert "starts of up to an hour" in text


@pytest.mark.parametrize(
    ("policy", "factor", "words"),
    [
        (
            Policy.SPOT_WINDOW,
            0.93,
            ["at most 0.91 of fixed 75 % Spot window", "at most 0.89 of fixed 75 % Spot window"],
        ),
        (Policy.UNIFORM, 0.98, ["at most 0.93 of Uniform"]),
        (Policy.GREEDY, 0.90, ["1 point above greedy"]),
        (Policy.OURS, 1.5, ["about 0.346", "about 0.468", "about 0.200", "about 0.220"]),
    ],
)
def test_a_promise_that_does_not_hold_is_broken(policy: Policy, factor: float, words: list[str]) -> None:
    texts = broken(changed(policy, factor=factor))
    assert all(any(word in text for text in texts) for word in words)


def test_one_region_in_which_greedy_is_better_breaks_that_promise() -> None:
    texts = broken(changed(Policy.GREEDY, SETTINGS[0], factor=0.9))
    assert texts == ["at most 1 point above greedy in any region"]


def test_a_few_windows_can_only_break_the_deadline() -> None:
    assert len(promises(summed(COSTS), all_of_them=False)) == 2
