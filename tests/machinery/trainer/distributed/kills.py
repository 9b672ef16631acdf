"""Train on several ranks and hosts with real processes, and end them in every way that a cloud does."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import psutil

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


class Hosts:
    """Provide hosts as network namespaces, joined by a bridge."""

    def __init__(self, count: int) -> None:
        self._tag = f"k{os.getpid() % 100000}"
        self._names = [f"{self._tag}h{number}" for number in range(count)]
        _ip("link", "add", self._tag, "type", "bridge")
        _ip("link", "set", self._tag, "up")
        for number, name in enumerate(self._names):
            _ip("netns", "add", name)
            _ip("link", "add", f"{name}o", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", f"{name}o", "master", self._tag, "up")
            _ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                _ip("-n", name, "link", "set", device, "up")

    @staticmethod
    def address(number: int) -> str:
        return f"10.99.0.{number + 1}"

    def command(self, number: int) -> list[str]:
        """Return the command that runs another one on this host."""
        return ["ip", "netns", "exec", self._names[number], "env", "GLOO_SOCKET_IFNAME=eth0"]

    def link(self, number: int, state: str) -> None:
        """Take the link of a host up or down. Nobody is told: packets vanish."""
        _ip("link", "set", f"{self._names[number]}o", state)

    def close(self) -> None:
        for name in self._names:
            _ip("netns", "del", name)
        _ip("link", "del", self._tag)


@dataclass(slots=True, kw_only=True)
class Job:
    """Run one start of all ranks of a run in `folder`."""

    layout: Layout
    hosts: Hosts | None
    folder: Path
    attempt: str
    flags: Sequence[str]
    env: Mapping[str, str]
    _launchers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _frozen: psutil.Process | None = None

    def start(self, port: int) -> Job:
        """Start the first process of each host."""
        addresses = (
            [f"{self.hosts.address(number)}:{port}" for number in range(self.layout.hosts)] if self.hosts else []
        )
        for number in range(self.layout.hosts):
            pool = {"workerpool0": addresses[:1], **({"workerpool1": addresses[1:]} if addresses[1:] else {})}
            task = {"type": f"workerpool{min(number, 1)}", "index": max(0, number - 1)}
            cluster = {"CLUSTER_SPEC": json.dumps({"cluster": pool, "task": task})} if self.hosts else {}
            command = [
                *(self.hosts.command(number) if self.hosts else ()),
                *(sys.executable, "-m", PACKAGE, "--run", "killed", "--attempt", self.attempt),
                *("--ranks", str(self.layout.ranks), "--parallel", self.layout.parallel),
                *("--checkpoint-dir", str(self.folder / "checkpoints"), "--output-dir", str(self.folder / "models")),
                *self.flags,
            ]
            with self._log(number).open("wb") as log:
                self._launchers.append(
                    subprocess.Popen(
                        command,
                        env={**os.environ, "OMP_NUM_THREADS": "1", **self.env, **cluster},
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
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
            launcher = psutil.Process(self._launchers[host].pid)
            children: list[psutil.Process] = launcher.children() if self.layout.world > 1 else [launcher]
            return [child for child in children if PACKAGE in child.cmdline() and child.is_running()]
        except psutil.NoSuchProcess:
            return []

    def wait_until_it_trains(self) -> bool:
        """Return whether training began before the processes ended."""
        end = time.monotonic() + PATIENCE_S
        while not READY.search(self.output):
            if all(launcher.poll() is not None for launcher in self._launchers):
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
                    launcher = psutil.Process(self._launchers[host].pid)
                    chance.choice([launcher, *found]).send_signal(signal.SIGTERM)
                case Kill.KILL_ONE:
                    chance.choice(found).kill()
                case Kill.KILL_ALL:
                    for number in range(self.layout.hosts):
                        self._kill_host(number)
                case Kill.HOST:
                    self._kill_host(host)
                case Kill.LINK:
                    assert self.hosts
                    self.hosts.link(host, "down")
                case Kill.FROZEN:
                    self._frozen = chance.choice(found)
                    self._frozen.suspend()

    def _kill_host(self, number: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            launcher = psutil.Process(self._launchers[number].pid)
            for process in [launcher, *launcher.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def wait(self) -> list[int]:
        """Return the exit codes of the hosts."""
        end = time.monotonic() + PATIENCE_S
        while (left := [one for one in self._launchers if one.poll() is None]) and time.monotonic() < end:
            if self._frozen and len(left) == 1 < self.layout.hosts:  # the cloud ends the machines that are left
                self._frozen.kill()
            time.sleep(0.02)
        if left:
            output = self.output
            for number in range(self.layout.hosts):
                self._kill_host(number)
            raise AssertionError(f"{len(left)} hosts did not end within {PATIENCE_S:.0f} s\n{output}")
        if self.hosts:
            for number in range(self.layout.hosts):
                self.hosts.link(number, "up")
        return [launcher.returncode for launcher in self._launchers]


def _ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True, capture_output=True)
