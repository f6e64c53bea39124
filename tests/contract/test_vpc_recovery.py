"""kill -9 of the service, of a VPC's agent, of its uplink, of everything: found again or rebuilt."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakehouse.network.namespace import start_agent
from bakehouse.network.spec import GroupSpec, NetworkError
from tests.contract.test_vpc import talk
from tests.framework.fake_guest import FakeGuest, wait_gone
from tests.framework.patience import wait_for
from tests.framework.vpc_host import (
    EVERYTHING,
    VpcHost,
    agents_in,
    group,
    interface,
    network_namespace,
    tcp,
    uplinks_of,
    vpc_host,
)

pytestmark = pytest.mark.programs
VPC = 9
ADDRESS = f"127.201.{VPC}.10"
PORT = 8080
GROUPS: list[GroupSpec] = [group(tcp(PORT), tcp(8081))]
ANSWER = "one 198.51.100.1 hi"

_SERVICE = """
import sys, time
from pathlib import Path
from tests.framework.vpc_host import VpcHost
from tests.contract.test_vpc_recovery import VPC, GROUPS, PORT
from tests.framework.vpc_host import interface
host = VpcHost(Path(sys.argv[1]))
network = host.vpc(VPC)
network.set_groups(GROUPS)
guest = host.guest(network, interface(10, vpc=VPC))
guest.serve_echo(PORT, "one")
print(guest.pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def host() -> Iterator[VpcHost]:
    with vpc_host() as made:
        made.vpc_ids.add(f"vpc-000000000000000{VPC:02x}")
        yield made


class DeadService:
    """A service in a process of its own, killed once its VPC and machine were up."""

    def __init__(self, host: VpcHost) -> None:
        root = Path(__file__).parents[2]
        environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"}
        argv = [sys.executable, "-c", _SERVICE, str(host.state.root)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment, text=True) as service:
            assert service.stdout is not None
            self.machine_pid = int(service.stdout.readline())
            self.namespace = network_namespace(self.machine_pid)
            (self.agent_pid,) = agents_in(self.namespace)
            (self.uplink_pid,) = uplinks_of(self.namespace)
            service.kill()

    def end(self) -> None:
        kill(self.machine_pid)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)


@pytest.fixture
def dead(host: VpcHost) -> Iterator[DeadService]:
    service = DeadService(host)
    yield service
    if Path(f"/proc/{service.machine_pid}").exists():
        service.end()


def restored(host: VpcHost, dead: DeadService) -> None:
    """What a new service does for a VPC whose machine runs."""
    network = host.vpc(VPC, pids=[dead.machine_pid])
    network.restore(GROUPS, [interface(10, vpc=VPC)])


def test_after_the_service_died_its_agent_and_machine_are_found_again(host: VpcHost, dead: DeadService) -> None:
    assert talk(ADDRESS, PORT) == "refused"
    restored(host, dead)
    assert talk(ADDRESS, PORT) == ANSWER
    assert agents_in(dead.namespace) == [dead.agent_pid]
    assert uplinks_of(dead.namespace) == [dead.uplink_pid]
    assert network_namespace(dead.machine_pid) == dead.namespace


def test_after_service_and_agent_died_the_machines_namespaces_are_joined(host: VpcHost, dead: DeadService) -> None:
    kill(dead.agent_pid)
    wait_gone(dead.uplink_pid)  # nobody keeps it, so it lets go of the namespace
    restored(host, dead)
    assert talk(ADDRESS, PORT) == ANSWER
    (agent,) = agents_in(dead.namespace)
    assert agent != dead.agent_pid
    assert len(uplinks_of(dead.namespace)) == 1


def test_after_everything_died_nothing_is_left_and_all_is_built_anew(host: VpcHost, dead: DeadService) -> None:
    kill(dead.agent_pid)
    dead.end()
    wait_gone(dead.uplink_pid)
    wait_for(lambda: dead.namespace not in namespaces(), "the end of the namespace")
    network = host.vpc(VPC, pids=[dead.machine_pid])
    network.set_groups(GROUPS)
    guest = host.guest(network, interface(10, vpc=VPC))
    guest.serve_echo(PORT, "one")
    assert talk(ADDRESS, PORT) == ANSWER


def namespaces() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.add((entry / "ns/net").stat().st_ino)
            except OSError:
                continue
    return found


def test_an_agent_in_an_empty_namespace_gives_way_to_the_machines(host: VpcHost, dead: DeadService) -> None:
    kill(dead.agent_pid)
    host.vpc(VPC)  # without the machine's pid: a new namespace
    host.restart()
    restored(host, dead)
    assert talk(ADDRESS, PORT) == ANSWER
    assert len(agents_in(dead.namespace)) == 1


@pytest.fixture
def guest(host: VpcHost) -> FakeGuest:
    network = host.vpc(VPC)
    network.set_groups(GROUPS)
    guest = host.guest(network, interface(10, vpc=VPC))
    guest.serve_echo(PORT, "one")
    return guest


def test_an_agent_that_dies_is_replaced_while_the_service_runs(host: VpcHost, guest: FakeGuest) -> None:
    namespace = network_namespace(guest.pid)
    (agent,) = agents_in(namespace)
    kill(agent)
    network = host.vpc(VPC)
    network.set_groups([group(EVERYTHING)])  # waits for the new agent
    assert agents_in(namespace) not in ([], [agent])
    wait_for(lambda: len(uplinks_of(namespace)) == 1, "an uplink")
    assert talk(ADDRESS, PORT) == ANSWER
    assert guest.dhcp()[0] == "172.31.0.10"
    assert guest.connect("169.254.169.254", 80).startswith("open")
    other = host.guest(network, interface(11, vpc=VPC))
    assert other.connect("172.31.0.10", PORT).startswith("open")


def test_an_agent_that_cannot_be_replaced_at_once_is_replaced_later(
    host: VpcHost, guest: FakeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = network_namespace(guest.pid)
    (agent,) = agents_in(namespace)
    failures = [NetworkError("no agent now"), PermissionError("nor now")]

    def start_or_fail(*arguments: Any, **more: Any) -> None:
        if failures:
            raise failures.pop()
        start_agent(*arguments, **more)

    monkeypatch.setattr("bakehouse.network.plumbing.start_agent", start_or_fail)
    kill(agent)
    host.vpc(VPC).set_groups([group(EVERYTHING)])  # waits for the new agent
    assert not failures
    assert agents_in(namespace) not in ([], [agent])
    wait_for(lambda: len(uplinks_of(namespace)) == 1, "an uplink")
    assert talk(ADDRESS, PORT) == ANSWER


def test_an_uplink_that_dies_is_replaced(host: VpcHost, guest: FakeGuest) -> None:
    namespace = network_namespace(guest.pid)
    (uplink,) = uplinks_of(namespace)
    kill(uplink)
    wait_for(lambda: uplinks_of(namespace) not in ([], [uplink]), "another uplink")
    assert talk(ADDRESS, PORT) == ANSWER


def test_a_service_that_stops_leaves_machines_connected_and_takes_them_up_again(
    host: VpcHost, guest: FakeGuest
) -> None:
    network = host.vpc(VPC)
    network.set_groups([group(EVERYTHING)])
    other = host.guest(network, interface(11, vpc=VPC))
    host.networks.close()
    assert other.connect("172.31.0.10", PORT).startswith("open")
    host.restart()
    network = host.vpc(VPC)
    network.set_groups([group(EVERYTHING)])  # machines not told of yet keep the rules they have
    assert other.connect("172.31.0.10", PORT).startswith("open")
    network.restore([group(EVERYTHING)], [interface(10, vpc=VPC), interface(11, vpc=VPC)])
    assert talk(ADDRESS, PORT) == ANSWER
    assert other.dhcp()[0] == "172.31.0.11"
