"""Train on several ranks and hosts with real processes, and end them in every way that a cloud does."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import psutil

from spot.emulators.job_lifecycle import cluster_specs
from spot.emulators.machines import EmulatedMachine, Network
from spot.storage.factory import open_store
from spot.storage.records import manifest
from spot.trainer.checkpoint import restore
from spot.trainer.uploader.buffer import SharedBuffer

PACKAGE = "tests.machinery.tasks.transformer"
READY = re.compile(r"starts, no checkpoint found|resumed from the checkpoint")
PATIENCE_S = 300.0
"""The longest wait for a process: a test fails before it hangs."""


class Kill(StrEnum):
    """Name how processes of a run end."""

    TERM_ONE = "sigterm-to-one"
    KILL_ONE = "sigkill-of-one"
    KILL_ALL = "sigkill-of-all"
    HOST = "sigkill-of-a-host"
    LINK = "link-down"
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Describe the machines of a run."""

    hosts: int
    ranks: int
    """On each host."""
    parallel: str

    @property
    def world(self) -> int:
        return self.hosts * self.ranks

    def __str__(self) -> str:
        return f"{self.world}-{self.parallel}"


@dataclass(slots=True, kw_only=True)
class Job:
    """Run one start of all ranks of a run in `folder`."""

    layout: Layout
    folder: Path
    attempt: str
    flags: Sequence[str]
    env: Mapping[str, str]
    _network: Network = field(init=False)
    _hosts: list[EmulatedMachine] = field(default_factory=list)
    _frozen: psutil.Process | None = None

    def start(self) -> Job:
        """Start the first process of each host."""
        self._network = Network(namespaces=self.layout.hosts > 1).__enter__()
        self._hosts = [self._network.machine() for _ in range(self.layout.hosts)]
        pools = {"workerPoolSpecs": [{"replicaCount": 1}, {"replicaCount": self.layout.hosts - 1}]}
        clusters = cluster_specs(pools, [host.host for host in self._hosts])
        for number, (host, cluster) in enumerate(zip(self._hosts, clusters, strict=True)):
            command = [
                *(sys.executable, "-m", PACKAGE, "--run", "killed", "--attempt", self.attempt),
                *("--ranks", str(self.layout.ranks), "--parallel", self.layout.parallel),
                *("--checkpoint-dir", str(self.folder / "checkpoints"), "--output-dir", str(self.folder / "models")),
                *self.flags,
            ]
            given = {"CLUSTER_SPEC": cluster, "OMP_NUM_THREADS": "1", **self.env}
            host.run(command, {**os.environ, **given}, self._log(number))
        return self

    def _log(self, number: int) -> Path:
        return self.folder / f"{self.attempt}-{number}.log"

    @property
    def output(self) -> str:
        return "".join(
            f"--- host {number}\n{self._log(number).read_text(errors='replace')}" for number in range(self.layout.hosts)
        )

    def ranks(self, host: int) -> list[psutil.Process]:
        """Return the processes of a host that train."""
        try:
            launcher = self._launcher(host)
            children: list[psutil.Process] = launcher.children() if self.layout.world > 1 else [launcher]
            return [child for child in children if PACKAGE in child.cmdline() and child.is_running()]
        except psutil.NoSuchProcess:
            return []

    def wait_until_it_trains(self) -> bool:
        """Return whether training began before the processes ended."""
        end = time.monotonic() + PATIENCE_S
        while not READY.search(self.output):
            if all(host.poll() is not None for host in self._hosts):
                return False
            assert time.monotonic() < end, self.output
            time.sleep(0.05)
        return True

    def kill(self, how: Kill, chance: random.Random) -> None:
        """End what `how` says; a frozen process is killed when all others have ended."""
        host = chance.randrange(self.layout.hosts)
        found = self.ranks(host)
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            match how:
                case Kill.TERM_ONE:
                    chance.choice([self._launcher(host), *found]).send_signal(signal.SIGTERM)
                case Kill.KILL_ONE:
                    chance.choice(found).kill()
                case Kill.KILL_ALL:
                    for each in self._hosts:
                        each.interrupt(signal.SIGKILL)
                case Kill.HOST:
                    self._hosts[host].interrupt(signal.SIGKILL)
                case Kill.LINK:
                    self._hosts[host].disconnect()
                case Kill.FROZEN:
                    self._frozen = chance.choice(found)
                    self._frozen.suspend()

    def wait(self) -> list[int | None]:
        """Return the exit codes of the hosts."""
        end = time.monotonic() + PATIENCE_S
        try:
            while left := [host for host in self._hosts if host.poll() is None]:
                assert time.monotonic() < end, f"{len(left)} hosts did not end\n{self.output}"
                if self._frozen and len(left) == 1 < self.layout.hosts:  # the cloud ends the machines that are left
                    with contextlib.suppress(psutil.NoSuchProcess):
                        self._frozen.kill()
                time.sleep(0.02)
            return [host.poll() for host in self._hosts]
        finally:
            self._network.__exit__()

    def _launcher(self, host: int) -> psutil.Process:
        process = self._hosts[host]._process
        assert process
        return psutil.Process(process.pid)


def train(layout: Layout, folder: Path, flags: tuple[str, ...]) -> dict[str, str]:
    """Train to the end without a kill, and return digests of what must be equal."""
    folder.mkdir(exist_ok=True)
    job = Job(layout=layout, folder=folder, attempt="last", flags=flags, env={}).start()
    assert set(job.wait()) == {0}, job.output
    return digests(folder)


def digests(folder: Path) -> dict[str, str]:
    """Return digests of the results, and of each tensor of the last checkpoint: weights, optimizer, generators."""
    results = (folder / "models/killed/metrics.json", folder / "models/killed/model/model.safetensors")
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in results}
    store = open_store(str(folder / "checkpoints"))
    newest = manifest.newest(store, "killed")
    assert newest
    assert newest.step == newest.total_steps
    tensors = restore.read(store, newest, SharedBuffer()).tensors
    assert any(name.startswith("optimizer.") for name in tensors)
    hashed = {name: hashlib.sha256(tensor.contiguous().numpy().tobytes()) for name, tensor in tensors.items()}
    return found | {name: one.hexdigest() for name, one in hashed.items()}
