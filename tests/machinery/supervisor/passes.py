"""Passes over one run in a world, as reconcile makes them, its record in memory; every action is held to the law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import cycle

from spot.core.actions import CancelAttempt, Close, GiveUp, Submit, Wait
from spot.core.errors import TemporarilyUnavailable
from spot.core.history import Cancel, CancelReason, CancelRequest, Condition
from spot.core.job import JobState
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run, RunState, Strategy
from spot.google.vertex import RequestRejected
from spot.policy.alarms import new_alarms
from spot.policy.decide import decide
from spot.policy.slack import Slack
from spot.supervisor.classify import classify_refusal
from spot.supervisor.observe import NOT_FOUND, given_up, observe
from spot.supervisor.reconcile import MOST_TURNS, is_settling
from tests.machinery.supervisor.world_cloud import Cloud
from tests.machinery.supervisor.worlds import MINUTE, World


class Passes:
    """`run` as it stands after the newest pass."""

    def __init__(self, world: World, run: Run, cloud: Cloud | None = None) -> None:
        self.run = run
        self.cloud = cloud or Cloud(world, run.spec.policy.work // MINUTE)
        self.alarmed: dict[Condition, int] = {}
        """The minute in which each condition was found broken."""
        self.begun: list[int] = []
        self.watch: Callable[[], object] = lambda: None
        """Called in every minute."""
        self._world, self._gaps = world, cycle(world.gaps)
        self._gap = timedelta()

    def go_on_until(self, horizon: int) -> None:
        """To the end of the run, which must come within so many minutes."""
        while self.run.state is RunState.OPEN:
            assert self.cloud.minute < horizon, f"open after {horizon} minutes: {self.run.attempts[-1:]}"
            begun = self.cloud.minute
            self.begun.append(begun)
            if begun >= self._world.asked_to_end and not self.run.cancel_request:
                self.run = replace(self.run, cancel_request=CancelRequest(at=self.cloud.now, by="ann"))
            self._pass()
            ended = self.cloud.minute
            self._advance(max(begun + next(self._gaps), ended))
            self._gap = (self.cloud.minute - ended) * MINUTE

    def _pass(self) -> None:
        for _ in range(MOST_TURNS):
            if self.run.state is not RunState.OPEN:
                return
            self.run, seen = observe(self.run, self.cloud, self.cloud, self.cloud.now)
            self._alarm(seen)
            action = decide(self.run, seen, self.cloud.now)
            assert action.reason.strip()
            assert action.reason.isprintable()
            if not isinstance(action, Wait):
                self._hold_to_the_law(action)
                if not self._act(action):
                    return
                continue
            self._holds_until(action, seen)
            if not any(is_settling(active, self.cloud.now) for active in self.run.active_attempts):
                return
            self._advance(self.cloud.minute + 1)
        raise AssertionError(f"{MOST_TURNS} turns in one pass: {self.run.attempts[-3:]}")

    def _holds_until(self, wait: Wait, seen: Observation) -> None:
        """Time alone changes nothing before the moment that a wait names, and never if it names none."""
        moment = wait.until - timedelta(seconds=1) if wait.until else self.cloud.now + timedelta(days=30)
        assert moment < self.cloud.now or isinstance(decide(self.run, seen, moment), Wait), (wait, moment)

    def _alarm(self, seen: Observation) -> None:
        found = new_alarms(self.run, seen, self.cloud.now, self._gap)
        self.run = replace(self.run, alarms=(*self.run.alarms, *found))
        self.alarmed |= {alarm.condition: self.cloud.minute for alarm in found}
        assert all(has_digit(alarm.text) and alarm.text.isprintable() for alarm in found)

    def _advance(self, minute: int) -> None:
        while self.cloud.minute < minute:
            self.watch()
            self.cloud.advance(self.cloud.minute + 1, self.run)

    def _act(self, action: Submit | CancelAttempt | GiveUp | Close) -> bool:
        """Whether the pass goes on."""
        now = self.cloud.now
        match action:
            case Submit():
                attempt = Attempt(
                    id=f"a{len(self.run.attempts) + 1}",
                    provisioning=action.provisioning,
                    region=action.region,
                    intended_at=now,
                    timeout=action.timeout,
                    from_step=self.cloud.saved,
                    replaces=action.replaces,
                )
                return self._create(attempt)
            case CancelAttempt():
                [active] = [one for one in self.run.active_attempts if one.id == action.attempt]
                self.run = self.run.with_attempt(replace(active, cancel=Cancel(at=now, why=action.why)))
                self.cloud.cancel(str(active.job))
            case GiveUp():
                [active] = [one for one in self.run.active_attempts if one.id == action.attempt]
                self.run = self.run.with_attempt(given_up(active, action.reason, Observation(), now))
            case Close():
                self.run = replace(self.run, state=action.state, ended_at=now)
        return True

    def _create(self, attempt: Attempt) -> bool:
        before = self.run
        self.run = replace(before, attempts=(*before.attempts, attempt))
        try:
            sighting = self.cloud.create(self.run, attempt)
        except TemporarilyUnavailable:
            return True
        except RequestRejected as refusal:
            outcome = classify_refusal(refusal.error)
            if outcome is None:
                self.run = before
                return False
            attempt = replace(attempt, outcome=outcome, error=refusal.error, ended_at=self.cloud.now)
        else:
            attempt = replace(attempt, job=sighting.name, state=sighting.state)
        self.run = self.run.with_attempt(attempt)
        return True

    def _hold_to_the_law(self, action: Submit | CancelAttempt | GiveUp | Close) -> None:
        match action:
            case Submit():
                self._lawful_submit(action)
            case CancelAttempt():
                self._lawful_cancel(action)
            case GiveUp():
                self._lawful_give_up(action)
            case Close():
                assert self.run.active is None
                assert action.state is not RunState.OPEN

    def _lawful_submit(self, action: Submit) -> None:
        policy = self.run.spec.policy
        preemptible = action.provisioning is not Provisioning.ON_DEMAND
        if action.replaces:
            self._lawful_standby(action)
        else:
            assert not self.run.active_attempts
        assert action.region in policy.regions
        assert timedelta() < action.timeout <= timedelta(days=7)
        assert policy.strategy is not (Strategy.ON_DEMAND if preemptible else Strategy.SPOT)
        assert policy.flex_start or action.provisioning is not Provisioning.FLEX_START
        alike = [past for past in self.run.attempts if (past.provisioning is not Provisioning.ON_DEMAND) == preemptible]
        refused = {past.region for past in alike if past.outcome is Outcome.QUOTA}
        assert action.region not in refused - {past.region for past in alike if past.started_at}
        assert has_digit(action.reason)
        known = {past.id for past in self.run.attempts if not (past.error and past.error.code == NOT_FOUND)}
        known.discard(action.replaces)
        assert not [job.name for job in self.cloud.open_jobs if job.attempt.id in known]

    def _lawful_standby(self, action: Submit) -> None:
        policy = self.run.spec.policy
        [holder] = self.run.active_attempts
        assert holder.id == action.replaces
        assert (holder.provisioning, holder.state) == (Provisioning.ON_DEMAND, JobState.RUNNING)
        assert (policy.strategy, policy.hand_over, policy.budget_usd) == (Strategy.HYBRID, True, None)
        assert action.provisioning is not Provisioning.ON_DEMAND

    def _lawful_give_up(self, action: GiveUp) -> None:
        policy = self.run.spec.policy
        [active] = [one for one in self.run.active_attempts if one.id == action.attempt]
        assert (policy.budget_usd, policy.strategy is Strategy.SPOT) == (None, False)
        assert has_digit(action.reason)
        assert active.cancel or active.state not in {JobState.QUEUED, JobState.PENDING, JobState.RUNNING}

    def _lawful_cancel(self, action: CancelAttempt) -> None:
        policy = self.run.spec.policy
        [active] = [one for one in self.run.active_attempts if one.id == action.attempt]
        assert active.job
        assert active.cancel is None
        assert not active.state.ended
        if action.why is CancelReason.ASKED:
            return
        assert has_digit(action.reason)
        if action.why is CancelReason.HANDED_OVER:
            assert self.cloud.writer in {one.id for one in self.run.attempts if one.replaces == active.id}
        elif active is self.run.standby and self.cloud.writer != active.id:
            assert active.provisioning is not Provisioning.ON_DEMAND  # on-demand goes on beside it
        elif active.state is JobState.RUNNING and action.why not in {CancelReason.COMPLETE, CancelReason.FAILED}:
            slack = self.run.spec.deadline - self.cloud.now - (self.cloud.work - self.cloud.saved) * MINUTE
            assert active.provisioning is Provisioning.SPOT
            assert policy.strategy is Strategy.HYBRID
            exact = type(self.cloud) is Cloud  # its work is what was stated, and its rate never changes
            assert not exact or slack <= Slack.of(self.run, Observation(), self.cloud.now).hard_margin


def has_digit(text: str) -> bool:
    return any(letter.isdigit() for letter in text)
