"""Let the ranks decide together, at a step that is the same for all."""

from collections.abc import Callable

from spot.core.clock import Clock
from spot.trainer.distributed.group import NOTHING, Group, Vote
from spot.trainer.runtime.signals import StopSignal

EVERY_S = 0.1
"""The distance of votes where steps are shorter."""
MOST_STEPS = 1000
_SHIFT = 8
"""Above the bits of `Vote` rank 0 says after how many steps the next vote is."""


class Ballot:
    """Vote on a stop, a save and a hand-over. A single rank decides alone."""

    def __init__(self, group: Group, stop: StopSignal, clock: Clock) -> None:
        self._group, self._stop, self._clock = group, stop, clock
        self._next = self._voted = 0
        self._voted_at = 0.0

    @property
    def together(self) -> bool:
        """Return whether all ranks stop at the same place, so that they can save together."""
        return self._group.world == 1 or self._stop.requested

    def begin(self, step: int) -> None:
        """Start to decide on a stop by votes."""
        if self._group.world > 1:
            self._stop.follow_votes()
            self._next = self._voted = step
            self._voted_at = self._clock.monotonic()

    def check(self) -> None:
        """Raise `Stopped` if any rank received a signal. A signal raises by itself where there is a single rank."""
        if self._group.world > 1:
            self.cast()
            self._stop.check()

    def at_step(self, step: int, wishes: Callable[[], Vote], *, last: bool) -> Vote:
        """Return what any rank wishes; nothing at a step without a vote."""
        if self._group.world == 1:
            return wishes()
        if step < self._next and not last:
            return NOTHING
        now = self._clock.monotonic()
        passed = max(now - self._voted_at, 1e-6) / max(step - self._voted, 1)
        steps = min(max(int(EVERY_S / passed), 1), MOST_STEPS)
        agreed = int(self.cast(wishes() | Vote(steps << _SHIFT if self._group.rank == 0 else 0)))
        self._voted, self._voted_at, self._next = step, now, step + (agreed >> _SHIFT)
        return Vote(agreed & (1 << _SHIFT) - 1)

    def cast(self, wishes: Vote = NOTHING) -> Vote:
        """Return what any rank wishes, and stop if any rank received a signal."""
        if self._group.world == 1:
            return wishes
        received = self._stop.received
        agreed = self._group.vote(wishes | (Vote.STOP if received else NOTHING))
        if Vote.STOP in agreed and not self._stop.requested:
            grace_s = self._stop.grace_s
            self._stop.agree(min(self._group.gather(min(self._stop.remaining_s(), grace_s))))
        return agreed
