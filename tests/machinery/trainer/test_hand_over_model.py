"""Test random walks of holders, standbys and replaced writers: always one lineage, and no safe step lost.

Each look at the lease is one read and one change. Looks of other trainers happen between the two, and any events happen
between the requests of a pruning. Once in a walk, after the first commit, the lease is deleted.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe

from spot.storage import paths
from spot.storage.base import ABSENT, Entry, Object
from spot.storage.paths import Commit, Upload
from spot.storage.records import lease, manifest, markers
from spot.storage.records.lease import Lease, LeaseLost
from spot.storage.records.manifest import Manifest, Part
from spot.trainer.checkpoint.standby import Standby
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.lease_keeper import LeaseKeeper
from spot.trainer.uploader.messages import Declined, HandOverRequested, KeepLease, LeaseTiming, Lost
from spot.trainer.uploader.worker import Worker
from tests.machinery.clocks import ManualClock
from tests.machinery.storage.memory import MemoryStore
from tests.machinery.trainer.uploader.test_worker import draft_of

RUN = "run"
TIMING = LeaseTiming()
UNTRAINED = Commit(step=0, token=0, from_step=0, from_token=0)
WALKS, EVENTS, STARTS = 80, 150, 7
ATTEMPTS = [f"a{number}" for number in range(1, STARTS + 1)]
KEEP = 2
UNUSED = SharedBuffer(), Pipe()[0]


class BusyStore(MemoryStore):
    """Call `meanwhile` before each request; requests within it do not call it again."""

    meanwhile: Callable[[], None] | None = None

    def list(self, prefix: str) -> list[Entry]:
        self._run_meanwhile()
        return super().list(prefix)

    def read(self, name: str) -> Object:
        self._run_meanwhile()
        return super().read(name)

    def delete(self, name: str) -> None:
        self._run_meanwhile()
        super().delete(name)

    def _run_meanwhile(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        self.meanwhile = meanwhile


@dataclass(eq=False, kw_only=True)
class Trainer:
    """One start of a trainer. Other trainers may act between any two of its actions, as if it were frozen."""

    name: str
    alive: bool = True
    replaces: str | None = None
    """The attempt that it replaces, which may start only later."""
    standby: Standby | None = None
    """None once the trainer holds the lease."""
    lease: Lease | None = None
    """The lease of this trainer, as far as it knows."""
    restored: Commit | None = None
    """The checkpoint that it resumed from; None before."""
    keeper: LeaseKeeper | None = None
    newest: Commit = UNTRAINED
    step: int = 0
    in_flight: list[Manifest] = field(default_factory=list)
    """Commits that are sent and not yet executed. They may arrive after the trainer's end."""
    uploader: Worker
    to_prune: Manifest | None = None
    """The commit after which the uploader prunes."""
    wanted: str | None = None
    offering: bool = False

    @property
    def looks(self) -> bool:
        return self.alive and (self.standby is not None or self.keeper is not None)


class World:
    """Run the events of one walk, drawn by `chance`; `seen` counts events by kind."""

    def __init__(self, chance: random.Random, seen: Counter[str]) -> None:
        self.chance = chance
        self.seen = seen
        self.store = BusyStore()
        self.clock = ManualClock()
        self.trainers: list[Trainer] = []
        self.lineages: dict[Commit, list[Commit]] = {UNTRAINED: []}
        """The lineage of each checkpoint, newest first."""
        self.committed: list[Commit] = []
        self.replaced: set[str] = set()
        """Attempts that a standby replaced."""
        self.safe = 0
        """The highest step committed while its writer held the lease."""
        self.deletes_lease = True

    def step_and_check(self) -> None:
        self.happen()
        self.check()

    def happen(self) -> None:
        happens = {
            self.start: 2,
            self.look: 10,
            self.restore: 6,
            self.train_and_save: 6,
            self.execute_commit: 4,
            self.offer: 4,
            self.prune: 4,
            self.kill: 1,
            self.wait: 3,
            self.delete_lease: 0.2,
        }
        [event] = self.chance.choices(list(happens), list(happens.values()))
        event()

    def happen_perhaps(self) -> None:
        for _ in range(self.chance.choice([0, 0, 0, 20])):
            self.happen()

    def check(self) -> None:
        """Assert one complete lineage; committed checkpoints outside of it are older than all that is kept."""
        listed = manifest.listed(self.store, RUN)
        committed = manifest.committed_lineage(listed)
        newest = max(self.committed, key=lambda commit: (commit.token, commit.step), default=UNTRAINED)
        lineage = [commit for commit in self.lineages[newest] if commit in listed]
        assert committed[:KEEP] == lineage[:KEEP]
        assert [commit for commit in committed if commit in lineage] == lineage
        assert lineage[:1] == [newest] * bool(self.committed)
        assert newest.step >= self.safe
        parts = {entry.name for entry in self.store.list(paths.data(RUN))}
        assert all(part.name in parts for commit in lineage for part in manifest.read(self.store, RUN, commit).parts)
        tokens = [trainer.lease.token for trainer in self.trainers if trainer.lease]
        assert len(tokens) == len(set(tokens))

    def one(self, fits: Callable[[Trainer], bool]) -> Trainer | None:
        fitting = [trainer for trainer in self.trainers if fits(trainer)]
        return self.chance.choice(fitting) if fitting else None

    def start(self) -> None:
        """Start a new attempt, or an earlier one again."""
        if len(self.trainers) == STARTS:
            return
        attempt = self.chance.choice(ATTEMPTS[: len(self.trainers) + 1])
        name = lease.process_name(attempt, markers.claim_start(self.store, RUN, attempt, {}))
        trainer = Trainer(name=name, uploader=Worker(self.store, *UNUSED, KEEP))
        self.trainers.append(trainer)
        if self.chance.random() < 0.5:
            trainer.replaces = self.chance.choice([other for other in ATTEMPTS if other != attempt])
            trainer.standby = Standby(
                self.store, RUN, trainer.name, TIMING, replaces=trainer.replaces, clock=self.clock
            )
            return
        restarted = any(lease.attempt_of(other.name) == attempt for other in self.trainers[:-1])
        try:
            trainer.lease = lease.claim(self.store, RUN, trainer.name)
        except LeaseLost:
            self.seen["restarted" if restarted else "late start"] += 1
            trainer.alive = False
        assert trainer.alive == (attempt not in self.replaced)

    def look(self) -> None:
        """Let a trainer look at the lease, possibly with a look of another one between its read and its change."""
        trainer, other = self.one(lambda one: one.looks), self.one(lambda one: one.looks)
        if trainer is None or other is None:
            return
        if other is not trainer:
            self.store.before_next_write = lambda: self.look_once(other)
        self.look_once(trainer)
        self.store.before_next_write = None

    def look_once(self, trainer: Trainer) -> None:
        if trainer.standby:
            return self.look_of_standby(trainer, trainer.standby)
        assert trainer.keeper
        match trainer.keeper.look():
            case Lost():
                self.seen["handed over" if trainer.offering else "lost"] += 1
                trainer.alive = False
            case HandOverRequested(successor=successor):
                trainer.wanted = successor
            case Declined():
                self.seen["declined"] += 1
                assert trainer.offering
                trainer.offering, trainer.wanted = False, None
        return None

    def look_of_standby(self, trainer: Trainer, standby: Standby) -> None:
        before = lease.read(self.store, RUN)
        try:
            trainer.lease = standby.look()
        except LeaseLost:
            trainer.alive = False
        if trainer.lease:
            assert trainer.replaces
            trainer.standby = None
            assert lease.attempt_of(trainer.name) not in self.replaced
            self.replaced |= {trainer.replaces}
            assert before is None or not is_later(before.holder, trainer.name)
            if before and before.attempt != lease.attempt_of(trainer.name):
                self.replaced |= {before.attempt}
            self.seen["accepted" if before and before.offered else "taken"] += 1

    def restore(self) -> None:
        """Let a trainer that holds the lease resume, at any time after its claim."""
        trainer = self.one(lambda one: one.alive and one.lease is not None and one.restored is None)
        if trainer is None:
            return
        trainer.restored = trainer.newest = next(iter(manifest.commits(self.store, RUN)), UNTRAINED)
        trainer.step = trainer.restored.step
        trainer.keeper = LeaseKeeper(self.store, KeepLease(run=RUN, name=trainer.name, timing=TIMING), clock=self.clock)

    def train_and_save(self) -> None:
        trainer = self.one(lambda one: one.alive and one.restored is not None and not one.offering)
        if trainer and not trainer.in_flight:
            trainer.step += self.chance.randint(1, 3)
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        assert trainer.lease
        assert trainer.restored
        attempt, _, start = trainer.name.rpartition(".")
        upload = Upload(run=RUN, step=trainer.step, token=1, attempt=attempt, start=int(start), save=1)
        part = upload.part(0)
        written = self.store.write(part, b"", if_generation=ABSENT)
        saved = replace(
            draft_of(trainer.step, int(start), self.chance.choice([None, 0.5, 0.9])),
            attempt=attempt,
            token=trainer.lease.token,
            from_step=trainer.restored.step,
            from_token=trainer.restored.token,
            shards=((Part(name=part, size=0, crc32c=0, generation=written.generation),),),
        )
        self.lineages[saved.commit] = [saved.commit, *self.lineages[trainer.newest]]
        trainer.newest = saved.commit
        trainer.in_flight.append(saved)

    def execute_commit(self) -> None:
        """Execute a commit in flight, even of a writer that has ended."""
        if writer := self.one(lambda one: bool(one.in_flight)):
            self.execute_commit_of(writer)

    def execute_commit_of(self, writer: Trainer) -> None:
        saved = writer.to_prune = writer.in_flight.pop()
        commit = saved.commit
        before = manifest.commits(self.store, RUN)
        self.store.write(saved.name, saved.to_json(), if_generation=ABSENT)
        self.committed.append(commit)
        if any(other.token > commit.token for other in before):
            self.seen["outside the lineage"] += 1
            assert manifest.commits(self.store, RUN)[:KEEP] == before[:KEEP]
        elif commit.token == max(trainer.lease.token for trainer in self.trainers if trainer.lease):
            self.safe = max(self.safe, commit.step)
        else:
            self.seen["late"] += 1

    def prune(self) -> None:
        """Prune while other trainers continue."""
        trainer = self.one(lambda one: one.alive and one.to_prune is not None)
        if trainer is None:
            return
        saved, trainer.to_prune = trainer.to_prune, None
        assert saved
        before = len(manifest.listed(self.store, RUN))
        self.store.meanwhile = self.happen_perhaps
        trainer.uploader._prune(saved)
        self.store.meanwhile = None
        self.seen["pruned"] += len(manifest.listed(self.store, RUN)) < before

    def delete_lease(self) -> None:
        if self.deletes_lease and self.committed:
            self.store.delete(paths.writer(RUN))
            self.deletes_lease = False
            self.replaced.clear()  # the record of them is deleted
            self.seen["deleted"] += 1

    def offer(self) -> None:
        """Offer the lease, after making the current state durable as the trainer does."""
        trainer = self.one(lambda one: one.alive and one.wanted is not None and not one.offering)
        if trainer is None:
            return
        assert trainer.keeper
        assert trainer.wanted
        if trainer.newest.step != trainer.step:
            self.save(trainer)
        if trainer.in_flight:
            self.execute_commit_of(trainer)
        trainer.keeper.offer(trainer.wanted)
        trainer.offering = True

    def kill(self) -> None:
        if trainer := self.one(lambda one: one.alive):
            trainer.alive = False

    def wait(self) -> None:
        self.clock.sleep(self.chance.choice([1.0, TIMING.poll_s, TIMING.heartbeat_s, TIMING.dead_s / 2]))


def is_later(name: str, other: str) -> bool:
    """Return whether `name` is a later start of the same attempt. No start has two digits here."""
    return lease.attempt_of(name) == lease.attempt_of(other) and name > other


def test_in_any_order_of_events_there_is_one_lineage_and_no_safe_step_is_lost() -> None:
    seen: Counter[str] = Counter()
    for seed in range(WALKS):
        world = World(random.Random(seed), seen)
        for _ in range(EVENTS):
            world.step_and_check()
    hand_over = ("accepted", "handed over", "declined", "taken", "lost")
    starts, commits = ("late start", "restarted"), ("late", "outside the lineage")
    rare = {event: seen[event] for event in (*hand_over, *starts, *commits, "pruned", "deleted")}
    assert min(rare.values()) >= 5, rare
