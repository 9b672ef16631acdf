"""Time the hand-over: how often both sides read the lease, and how long they wait for each other."""

from dataclasses import dataclass

from spot.trainer.uploader.messages import KeepLease


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """Hold the times in seconds, each measured by the local monotonic clock."""

    poll_s: float = 3.0
    heartbeat_s: float = 10.0
    """The interval between two heartbeats of a holder while a standby waits."""
    offer_s: float = 60.0
    """The longest pause of training for an offer that is not accepted."""
    dead_s: float = 60.0
    """The time without a heartbeat after which the standby takes the lease."""

    def hold(self, run: str, name: str) -> KeepLease:
        """Return the command to keep the lease of `run`, held by the process `name`."""
        return KeepLease(run=run, name=name, poll_s=self.poll_s, heartbeat_s=self.heartbeat_s, offer_s=self.offer_s)
