"""Upload in virtual time: the real uploader makes each upload at its virtual end."""

from collections.abc import Iterator
from dataclasses import replace

from spot.demo.virtual_clock import VirtualClock
from spot.storage.factory import open_store
from spot.trainer.uploader.lease_keeper import LeaseKeeper
from spot.trainer.uploader.messages import (
    Command,
    Durable,
    Event,
    Failed,
    KeepLease,
    Mirror,
    Mirrored,
    OfferLease,
    Released,
    Save,
    Withdraw,
)
from spot.trainer.uploader.process import UploaderProcess

UPLOAD_S = 10.0
NEVER = float("inf")


class PacedUploader:
    """Keep a save back for `UPLOAD_S`, so that a kill before then finds nothing of it in the bucket.

    The lease is watched from this process, at virtual times.
    """

    def __init__(self, clock: VirtualClock, store_uri: str, buffer_fd: int, keep: int) -> None:
        self._clock, self._uri = clock, store_uri
        self._process = UploaderProcess(store_uri, buffer_fd, keep)
        self._events: list[Event] = []
        self._save: Save | None = None
        self._save_at = NEVER
        self._keeper: LeaseKeeper | None = None
        self._look_at = NEVER

    def send(self, command: Command) -> None:
        match command:
            case KeepLease() if self._keeper:
                pass
            case KeepLease():
                self._keeper = LeaseKeeper(open_store(self._uri), command, clock=self._clock)
                self._look_at = self._clock.monotonic() + command.timing.poll_s
            case OfferLease() if self._keeper:
                self._keeper.offer(command.successor)
                self._look_at = self._clock.monotonic()
            case Save():
                self._save, self._save_at = command, self._clock.monotonic() + UPLOAD_S
            case Withdraw():
                if self._save and self._save.save == command.save:
                    self._save, self._save_at = None, NEVER
                self._events.append(Released(save=command.save))
            case _:
                self._execute(command)

    def receive(self, timeout_s: float) -> Iterator[Event]:
        end = self._clock.monotonic() + timeout_s
        while True:
            if self._save and self._clock.monotonic() >= self._save_at:
                save, self._save, self._save_at = self._save, None, NEVER
                self._execute(save)
            if self._keeper and self._clock.monotonic() >= self._look_at:
                self._look(self._keeper)
            if self._events or self._clock.monotonic() >= end:
                events, self._events = self._events, []
                return iter(events)
            self._clock.sleep(min(end, self._save_at, self._look_at) - self._clock.monotonic())

    def restart(self) -> int:
        self._save, self._save_at = None, NEVER
        return self._process.restart()

    def close(self) -> None:
        self._process.close()

    def _execute(self, command: Command) -> None:
        """Have the real uploader execute a command now, and keep its answer."""
        self._process.send(command)
        while True:
            for event in self._process.receive(1.0):
                match event:
                    case Durable():
                        self._clock.status["durable"] = event.step
                        self._events.append(replace(event, seconds=UPLOAD_S))
                    case _:
                        self._events.append(event)
                match command, event:
                    case (Save(), Durable() | Failed()) if event.save == command.save:
                        return
                    case (Mirror(), Mirrored()) if event.path == command.path:
                        return

    def _look(self, keeper: LeaseKeeper) -> None:
        self._look_at = self._clock.monotonic() + keeper.command.timing.poll_s
        if event := keeper.look():
            self._events.append(event)
