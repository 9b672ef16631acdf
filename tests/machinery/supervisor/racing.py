"""Supervisors that take turns: each runs in a thread of its own, and only from one call to the next when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from spot.supervisor.reconcile import PassResult, Supervisor
from tests.machinery.supervisor.crashes import Killed, World
from tests.machinery.supervisor.watched import When

STUCK_S = 30.0


class Racer:
    """A pass of one supervisor over the run of `world`. It stands before a call, until `step` carries that one out.

    `waits` tells at which calls it stands; the others are carried out on the way.
    """

    def __init__(self, world: World, waits: Callable[[str], bool] = lambda _what: True) -> None:
        self._world, self._waits = world, waits
        self._go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self._killed = False
        self.before = ""
        """The call that it stands before; empty once it is done."""
        self.since: datetime = world.clock.now()
        self.failed: BaseException | None = None
        self._lost: tuple[When, Exception] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()

    @property
    def done(self) -> bool:
        return not self.before

    def step(self, lost: tuple[When, Exception] | None = None) -> None:
        """Carry out the call that it stands before, `lost` without an answer, and go on to the next one."""
        self._lost = lost
        self._go.release()
        self._wait()

    def kill(self) -> None:
        """It never comes to the call that it stands before."""
        if not self.done:
            self._killed = True
            self.step()

    def _wait(self) -> None:
        assert self._stands.acquire(timeout=STUCK_S), f"it is stuck after {self.before}"
        if self.failed:
            raise self.failed

    def _run(self) -> None:
        supervisor: Supervisor = self._world.supervisor(self._around)
        try:
            self.passed: PassResult = supervisor.reconcile_run(self._world.run.id)
        except Killed:
            pass
        except BaseException as error:
            self.failed = error
        self.before = ""
        self._stands.release()

    def _around(self, what: str, effect: Callable[[], Any]) -> Any:
        if self._waits(what):
            self.before, self.since = what, self._world.clock.now()
            self._stands.release()
            self._go.acquire()
        if self._killed:
            raise Killed
        lost, self._lost = self._lost, None
        if lost and lost[0] is When.BEFORE:
            raise lost[1]
        result = self._world.carry_out(what, effect)
        if lost:
            raise lost[1]
        return result
