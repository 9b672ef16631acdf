"""Rehearse a run whose reconciles come when the schedules of its homes deliver them."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta

from spot.core.run import RunState
from spot.demo.director import Participant
from spot.demo.environment import ROOT, Environment
from spot.demo.participants import _become
from spot.demo.virtual_clock import VirtualClock
from spot.google.vertex import VertexJobs
from spot.storage.factory import open_store
from spot.storage.records.ledger import Ledger
from spot.storage.records.reconciles import Home
from spot.supervisor.reconcile import Supervisor
from spot.supervisor.training_status import BucketStatus

Passes = Sequence[tuple[float, Home]]
"""Minutes since the submit, and the home that reconciles then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes(Environment):
    passes: Passes

    @classmethod
    def of(cls, environment: Environment, passes: Passes) -> Homes:
        given = {field.name: getattr(environment, field.name) for field in fields(environment)}
        return cls(**given, passes=passes)

    def start_supervisor(self, run: str) -> Participant:
        return self.director.start("supervisor", supervise, dict(os.environ), run, ROOT, self.passes)


def supervise(end: socket.socket, log: str, environ: Mapping[str, str], run: str, root: str, passes: Passes) -> None:
    """Reconcile the run in a process, at each of these times until it ends."""
    _become(log, environ)
    clock = VirtualClock(end)
    ledger = Ledger(open_store(root))
    began = clock.monotonic()
    for minutes, home in passes:
        clock.sleep(max(began + timedelta(minutes=minutes).total_seconds() - clock.monotonic(), 0.0))
        supervisor = Supervisor(ledger=ledger, jobs=VertexJobs(), status=BucketStatus(root), clock=clock, home=home)
        [result] = supervisor.reconcile([run])
        if result.run and result.run.state is not RunState.OPEN:
            return
