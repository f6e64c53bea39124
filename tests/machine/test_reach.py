"""What a guest reaches and what it must not, tried from inside a Debian guest."""

import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.framework.guests import Guest, base_image_id, key_pair, launch_guest
from tests.framework.service import Service

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]

# One connection attempt; "open" and what the other end says first, else why not.
_TRY = """python3 - <<'E'
import socket
try:
    with socket.create_connection(("{address}", {port}), timeout=8) as s:
        s.settimeout(8)
        print("open", s.recv(64))
except OSError as error:
    print("closed", error)
E"""
_METADATA = """
T=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
curl -s -H "X-aws-ec2-metadata-token: $T" http://169.254.169.254/latest/meta-data/{path}
"""
_MIRROR = """
uri=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -n1)
curl -sS -o /dev/null -w '%{http_code}' "$uri"
"""


class _Greeter(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"the host")


@pytest.fixture(scope="module")
def host_port() -> Iterator[int]:
    """A program that listens on every address of this host."""
    with socketserver.ThreadingTCPServer(("0.0.0.0", 0), _Greeter) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def stranger(machine_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Another account's instance, which admits nobody but the host's own test."""
    keys = machine_service.new_account()
    ec2 = machine_service.client(keys=keys)
    group_id = ec2.create_security_group(GroupName="closed", Description="one client only")["GroupId"]
    with key_pair(ec2, "own", tmp_path_factory.mktemp("stranger")) as key_file:
        ec2.authorize_security_group_ingress(
            GroupId=group_id, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="127.0.0.1/32"
        )
        guest = launch_guest(
            machine_service,
            key_file,
            keys=keys,
            ImageId=base_image_id(ec2),
            InstanceType="t3.micro",
            KeyName="own",
            SecurityGroupIds=[group_id],
        )
        yield guest
        ec2.terminate_instances(InstanceIds=[guest.instance_id], SkipOsShutdown=True)
        guest.wait("instance_terminated")


def attempt(guest: Guest, address: str, port: int) -> str:
    return guest.ssh(_TRY.format(address=address, port=port))


def host_addresses() -> list[str]:
    """Every address of this host that is not a loopback one."""
    found = []
    for line in Path("/proc/net/fib_trie").read_text().split("Local:")[-1].split("|--")[1:]:
        address, *rest = line.split()
        if "LOCAL" in rest and not address.startswith("127."):
            found.append(address)
    return found


def test_programs_of_the_host_are_closed_to_a_guest(webserver: Guest, host_port: int) -> None:
    for address in ["127.0.0.1", "10.0.2.2", "172.31.0.1", *host_addresses()]:
        assert "the host" not in attempt(webserver, address, host_port), address


def test_the_service_itself_is_closed_to_a_guest(machine_service: Service, webserver: Guest) -> None:
    for address in ["10.0.2.2", *host_addresses()]:
        assert attempt(webserver, address, machine_service.port).startswith("closed"), address


def test_another_accounts_instance_is_closed_unless_its_groups_admit(webserver: Guest, stranger: Guest) -> None:
    # A public address of the host's loopback is a guest's own loopback: whoever answers there must not be the other.
    own_key = stranger.ssh("cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub").strip()
    addresses = f"{stranger.address} {stranger.describe()['PrivateIpAddress']}"
    assert own_key not in webserver.ssh(f"ssh-keyscan -T 8 -t ed25519 {addresses} 2>&1")


def test_the_metadata_a_guest_reads_is_its_own(webserver: Guest, stranger: Guest) -> None:
    for guest in (webserver, stranger):
        assert guest.ssh(_METADATA.format(path="instance-id")) == guest.instance_id
        assert guest.ssh(_METADATA.format(path="public-ipv4")) == guest.address


def test_packages_are_reached_from_a_guest(webserver: Guest) -> None:
    assert int(webserver.ssh(_MIRROR)) < 500
