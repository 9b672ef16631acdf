"""Run supervisors in turns: each has a thread, and runs only from one call to the next on `step`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from spot.supervisor.reconcile import RunResult, Supervisor
from tests.machinery.supervisor.crashes import Killed, World
from tests.machinery.supervisor.watched import When

STUCK_S = 30.0


class Racer:
    """Reconcile the run of `world` with one supervisor. It waits before a call until `step` executes the call.

    `waits` selects the calls at which it waits; all other calls are executed at once.
    """

    def __init__(self, world: World, waits: Callable[[str], bool] = lambda _what: True) -> None:
        self._world, self._waits = world, waits
        self._continue, self._waiting = threading.Semaphore(0), threading.Semaphore(0)
        self._killed = False
        self.before = ""
        """The call before which it waits; empty once it is done."""
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
        """Execute the call before which it waits, without an answer if `lost`, and continue to the next one."""
        self._lost = lost
        self._continue.release()
        self._wait()

    def kill(self) -> None:
        """End it before the call at which it waits."""
        if not self.done:
            self._killed = True
            self.step()

    def _wait(self) -> None:
        assert self._waiting.acquire(timeout=STUCK_S), f"no progress after {self.before}"
        if self.failed:
            raise self.failed

    def _run(self) -> None:
        supervisor: Supervisor = self._world.supervisor(self._around)
        try:
            self.result: RunResult = supervisor.reconcile_run(self._world.run.id)
        except Killed:
            pass
        except BaseException as error:
            self.failed = error
        self.before = ""
        self._waiting.release()

    def _around(self, what: str, effect: Callable[[], Any]) -> Any:
        if self._waits(what):
            self.before, self.since = what, self._world.clock.now()
            self._waiting.release()
            self._continue.acquire()
        if self._killed:
            raise Killed
        lost, self._lost = self._lost, None
        if lost and lost[0] is When.BEFORE:
            raise lost[1]
        result = self._world.carry_out(what, effect)
        if lost:
            raise lost[1]
        return result
