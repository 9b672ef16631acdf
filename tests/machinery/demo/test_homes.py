"""Rehearse a run with Cloud Run's schedule, with GitHub's, and with GitHub as the backup of a Cloud Run that fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest

from spot.accounting.cost import Account
from spot.core.format import hours
from spot.core.history import Condition
from spot.core.run import Provisioning, Run
from spot.demo.environment import ROOT, set_up
from spot.demo.runner import Rehearsal, new_run, run_rehearsal
from spot.github import issues
from spot.storage.factory import open_store
from spot.storage.records import reconciles
from spot.storage.records.reconciles import Home, Reconciles
from tests.machinery.demo.homes import Homes, Passes
from tests.machinery.demo.rehearsals import OPTIONS

pytestmark = pytest.mark.rehearsals
MINUTES = 60 * 40
GITHUB = [(60.0 * hour, Home.GITHUB) for hour in range(0, 40, 4)]
SUBMIT, CLOUD_RUN = [(0.0, Home.LOCAL)], [(float(minute), Home.CLOUD_RUN) for minute in range(3, MINUTES, 3)]
FAILING = [(minute, home) for minute, home in CLOUD_RUN if not 120 < minute < 480]
FIRST, SECOND = timedelta(minutes=130), timedelta(hours=5)
ALLOWED = {Home.CLOUD_RUN: timedelta(minutes=5), Home.GITHUB: timedelta(minutes=300)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    run: Run
    account: Account
    seen: Reconciles

    @property
    def line(self) -> str:
        spare, usd = self.account.to_spare, self.account.usd
        assert spare is not None
        assert usd is not None
        kinds = "+".join(dict.fromkeys(attempt.provisioning for attempt in self.run.attempts))
        met = "deadline met" if spare >= timedelta() else "deadline MISSED"
        return f"{met}, {hours(spare)} to spare, ${usd:.2f}, {len(self.run.attempts)} attempts, {kinds}"


def preempted(rehearsal: Rehearsal, at: Sequence[timedelta]) -> Iterator[None]:
    """Preempt a training on spot at each of these times, or as soon as there is one."""
    begin = rehearsal.now()
    for since in at:
        while rehearsal.now() < begin + since or not (view := rehearsal.training()):
            yield
        if view.provisioning is Provisioning.SPOT:
            rehearsal.jobs.preempt(view.job, save=True)


def rehearsed(passes: Passes, allowed: timedelta, at: Sequence[timedelta]) -> Ended:
    with set_up(OPTIONS) as environment:
        run = new_run(environment).with_policy(reconcile_interval=allowed)
        result = run_rehearsal(Homes.of(environment, passes), lambda _: None, partial(preempted, at=at), run)
        return Ended(run=result.run, account=result.account, seen=reconciles.read(open_store(ROOT)))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Iterator[partial[None]]:
    with capsys.disabled():
        yield partial(print, "\n ", flush=True)


def test_cloud_run_meets_the_deadline_on_spot_and_github_meets_it_only_on_demand(say: partial[None]) -> None:
    punctual = rehearsed(SUBMIT + CLOUD_RUN, ALLOWED[Home.CLOUD_RUN], (FIRST, SECOND))
    told = rehearsed(GITHUB, ALLOWED[Home.GITHUB], (FIRST, SECOND))
    untold = rehearsed(GITHUB, timedelta(minutes=15), (FIRST, SECOND))
    say(f"Cloud Run every 3 min:                    {punctual.line}")
    say(f"GitHub every 4 h, policy counts 5 h:      {told.line}")
    say(f"GitHub every 4 h, policy counts 15 min:   {untold.line}")
    costs = [ended.account.usd or 0.0 for ended in (punctual, told)]
    spares = [ended.account.to_spare or timedelta() for ended in (punctual, told, untold)]
    assert spares[0] > timedelta()
    assert spares[1] > timedelta()
    assert spares[2] < timedelta()
    assert costs[1] > 1.4 * costs[0]
    assert punctual.seen.usual_gap(Home.CLOUD_RUN) <= timedelta(minutes=5)
    assert untold.seen.slower(Home.GITHUB, timedelta(minutes=15)) == "reconciles came every 4.0 h; configured 15 min"


def test_with_cloud_run_failing_for_six_hours_the_backup_acts_and_an_issue_says_so(say: partial[None]) -> None:
    passes = sorted([*SUBMIT, *FAILING, *GITHUB[1:]])
    ended = rehearsed(passes, ALLOWED[Home.CLOUD_RUN], (FIRST,))
    say(f"Cloud Run failing from 2 h to 8 h:        {ended.line}")
    submitted = ended.run.submitted_at
    second = ended.run.attempts[1]
    assert timedelta(hours=4) <= second.intended_at - submitted < timedelta(hours=4, minutes=5)  # GitHub's reconcile
    [alarm] = [one for one in ended.run.alarms if one.condition is Condition.RECONCILE_INTERVAL]
    assert alarm.at - submitted < timedelta(hours=4, minutes=5)
    assert issues.due([ended.run], []).to_open == (("deadline", ended.run),)
    text = issues.body(ended.run, second.intended_at, "https://github.com/acme/runs/1", kind="deadline")
    assert "2.0 h between two reconciles, 5 min allowed" in text
    spare = ended.account.to_spare
    assert spare is not None
    assert spare > timedelta()
