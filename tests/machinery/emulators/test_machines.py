"""Test that the replicas of a job run on machines that can be preempted, or lose their network, one by one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spot.core.job import JobState
from spot.core.run import Provisioning
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.custom_job import replicas_of
from spot.emulators.job_lifecycle import Spec, cluster_specs, exited, stockout
from spot.emulators.jobs import JobTable
from spot.emulators.machines import EmulatedMachine, Network
from spot.emulators.storage_server import emulator
from tests.machinery.clocks import ManualClock
from tests.machinery.emulators import replica
from tests.machinery.emulators.world import BEHAVIOUR, PROJECT, REGION, custom_job
from tests.paths import REPOSITORY

PATIENCE_S = 30.0
LONG = 1_000_000


def namespaces() -> bool:
    with Network() as network:
        return network.address != "127.0.0.1"


@pytest.fixture(params=["loopback", *(["namespaces"] if namespaces() else [])])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    with Network(namespaces=request.param == "namespaces") as network:
        yield network


@dataclass(slots=True)
class ReplicaLauncher:
    """Start the stand-in for a trainer on each machine."""

    network: Network
    folder: Path
    steps: int = LONG
    machines: list[EmulatedMachine] = field(default_factory=list)

    def start(self, spec: Spec, job_name: str) -> list[EmulatedMachine]:  # noqa: ARG002  # a Launcher
        os.mkfifo(self.folder / "ready")
        self.machines = [self.network.machine() for _ in replicas_of(spec)]
        command = [sys.executable, "-m", replica.__name__, str(self.folder / "ready"), str(self.steps)]
        cluster = cluster_specs(spec, [machine.host for machine in self.machines])
        for number, (machine, given) in enumerate(zip(self.machines, cluster, strict=True)):
            environ = {**os.environ, "CLUSTER_SPEC": given, "PYTHONPATH": str(REPOSITORY)}
            machine.run(command, environ, self.folder / f"{number}.log")
        return self.machines

    def end(self) -> list[int | None]:
        """Return the exit codes once every replica is gone."""
        return [machine.wait(PATIENCE_S) for machine in self.machines]


class Gang:
    """Run one job of three replicas, on a clock that stands still unless the test moves it."""

    def __init__(self, launcher: ReplicaLauncher) -> None:
        self.launcher, self.clock = launcher, ManualClock()
        self.jobs = JobTable(EmulatedCapacity(), launcher, self.clock, BEHAVIOUR, monotonic=self.clock.monotonic)
        self.name = self.jobs.create(PROJECT, REGION, custom_job(Provisioning.SPOT, machines=3)).name
        self.clock.advance(BEHAVIOUR.queued)
        self.jobs.advance()
        self.clock.advance(BEHAVIOUR.pending)
        assert self.jobs.get(self.name).state is JobState.RUNNING
        assert (launcher.folder / "ready").read_text() == "up"

    def ended(self) -> tuple[JobState, object]:
        self.jobs.advance()
        self.clock.advance(BEHAVIOUR.error_delay)
        job = self.jobs.get(self.name)
        return job.state, job.error


@pytest.fixture
def launcher(network: Network, tmp_path: Path) -> ReplicaLauncher:
    return ReplicaLauncher(network, tmp_path)


def test_replicas_reach_each_other_and_the_job_succeeds_once_all_are_done(launcher: ReplicaLauncher) -> None:
    launcher.steps = 10
    gang = Gang(launcher)
    assert launcher.end() == [0, 0, 0]
    assert gang.ended() == (JobState.SUCCEEDED, None)


@pytest.mark.parametrize("number", [None, 0, 2])
def test_a_warning_to_one_replica_or_all_lets_all_save(launcher: ReplicaLauncher, number: int | None) -> None:
    gang = Gang(launcher)
    gang.jobs.preempt(gang.name, save=True, replica=number)
    assert launcher.end() == [143, 143, 143]
    assert gang.ended() == (JobState.FAILED, stockout(REGION))


@pytest.mark.parametrize("number", [0, 1])
def test_a_replica_killed_without_warning_is_missed_by_its_peers(launcher: ReplicaLauncher, number: int) -> None:
    gang = Gang(launcher)
    gang.jobs.preempt(gang.name, save=False, replica=number)
    codes = launcher.end()
    assert codes.pop(number) == -signal.SIGKILL
    assert codes == [replica.LOST, replica.LOST]
    assert gang.ended() == (JobState.FAILED, stockout(REGION))


def test_a_lost_link_is_noticed_in_time_and_the_job_fails_with_the_code_of_a_peer(launcher: ReplicaLauncher) -> None:
    gang = Gang(launcher)
    launcher.machines[1].disconnect()
    assert launcher.machines[0].wait(PATIENCE_S) == replica.LOST
    gang.jobs.advance()
    gang.clock.sleep(BEHAVIOUR.grace_s)
    gang.jobs.advance()
    launcher.end()
    assert gang.ended() == (JobState.FAILED, exited(replica.LOST))


def test_a_replica_that_fails_is_named_and_takes_its_peers_down(launcher: ReplicaLauncher) -> None:
    gang = Gang(launcher)
    peers, failing = launcher.machines[:2], launcher.machines[2]
    for peer in peers:
        peer.interrupt(signal.SIGSTOP)  # else they may notice, and end, before the job does
    failing.interrupt(signal.SIGKILL)
    failing.wait(PATIENCE_S)
    gang.jobs.advance()
    for peer in peers:
        peer.interrupt(signal.SIGCONT)
    launcher.end()
    assert gang.ended() == (JobState.FAILED, exited(137, "workerpool1-1"))


def test_machines_reach_the_storage_of_this_host(network: Network, tmp_path: Path) -> None:
    machine = network.machine()
    with emulator("bucket", network.address) as url:
        script = f"import urllib.request as r; print(r.urlopen('{url}/storage/v1/b', timeout=9).status)"
        machine.run([sys.executable, "-c", script], os.environ, tmp_path / "log")
        assert machine.wait(PATIENCE_S) == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "log").read_text() == "200\n"


def test_without_iproute2_machines_share_the_loopback_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with Network() as network:
        hosts = {network.machine().host for _ in range(3)}
    assert len(hosts) == 3
    assert all(host.startswith("127.0.0.1:") for host in hosts)


def test_networks_leave_no_namespace_behind() -> None:
    allowed = namespaces()
    with Network() as network:
        network.machine()
        assert len(_namespaces()) == (2 if allowed else 0)
    assert not _namespaces()


def _namespaces() -> list[str]:
    """Return the namespaces of this process."""
    folder = Path("/run/netns")
    return [entry.name for entry in folder.iterdir() if f"spot{os.getpid()}" in entry.name] if folder.is_dir() else []
