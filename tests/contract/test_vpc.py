"""A VPC's network with real namespaces, taps and rules; guests are fake machines with real kernels behind."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bakehouse.network.spec import NetworkError, RuleSpec
from bakehouse.network.vpc import VpcNetwork
from tests.framework.fake_guest import CLOSED_S, OPENS_S, FakeGuest, wait_gone
from tests.framework.patience import wait_for
from tests.framework.vpc_host import (
    EVERYTHING,
    GROUP,
    OTHER_GROUP,
    UID_BASE,
    VpcHost,
    agents_in,
    from_group,
    group,
    interface,
    network_namespace,
    tcp,
    udp,
    uplinks_of,
    vpc_host,
)
from tests.unit.test_metadata import ABOUT

pytestmark = pytest.mark.programs
PORT = 8080
PING = r"""
import os, socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
s.settimeout(float(sys.argv[2]))
number = os.getpid() % 50000  # a flow of its own for conntrack
s.sendto(struct.pack(">BBHHH", 8, 0, 0xFFFF - 0x0800 - number - 1, number, 1), (sys.argv[1], 0))
end, said = time.time() + float(sys.argv[2]), "silent"
try:
    while said == "silent" and time.time() < end:
        if s.recv(100)[20] == 0: said = "answered"
except TimeoutError: pass
print(said)
"""


KNOWN = {("vpc-00000000000000001", "172.31.0.10"): ABOUT}
TOKEN_HOPS = r"""
import socket, urllib.request
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.settimeout(20)
def ask(path, method, headers):
    request = urllib.request.Request("http://169.254.169.254" + path, method=method, headers=headers)
    urllib.request.urlopen(request, timeout=20).read()
    while True:
        packet, (source, _) = raw.recvfrom(65536)
        if source == "169.254.169.254" and b"HTTP/1.1 200" in packet: return packet[8]  # its time to live
print(ask("/latest/api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}),
      ask("/latest/meta-data/", "GET", {}))
"""


def lookup(vpc_id: str, address: str) -> object:
    return KNOWN.get((vpc_id, address))


@pytest.fixture(scope="module")
def host() -> Iterator[VpcHost]:
    with vpc_host(lookup=lookup) as made:  # type: ignore[arg-type]  # object only to keep the line short
        yield made


@pytest.fixture(scope="module")
def network(host: VpcHost) -> VpcNetwork:
    network = host.vpc()
    network.set_groups([group(), group(group_id=OTHER_GROUP)])
    return network


@pytest.fixture(scope="module")
def one(host: VpcHost, network: VpcNetwork) -> FakeGuest:
    guest = host.guest(network, interface(10))
    guest.serve_echo(PORT, "one")
    return guest


@pytest.fixture(scope="module")
def two(host: VpcHost, network: VpcNetwork) -> FakeGuest:
    guest = host.guest(network, interface(11, OTHER_GROUP))
    guest.serve_echo(PORT, "two")
    return guest


def patience(is_open: bool) -> float:
    """How long to try what should be open, or closed."""
    return OPENS_S if is_open else CLOSED_S


def talk(address: str, port: int, text: bytes = b"hi") -> str:
    """Connect from the host; what came back, or how it failed."""
    try:
        with socket.create_connection((address, port), timeout=OPENS_S) as client:
            client.sendall(text)
            return client.recv(1000).decode()
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"


def talk_udp(address: str, port: int, *, tries: int = 1) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect((address, port))
        for _ in range(tries):
            try:
                client.send(b"hi")
                return client.recv(1000).decode()
            except ConnectionRefusedError:
                return "refused"
            except TimeoutError:
                continue
    return "timeout"


def test_dhcp_gives_the_interface_its_address(one: FakeGuest) -> None:
    address, options = one.dhcp()
    assert address == "172.31.0.10"
    assert options["3"] == "ac1f0001"
    assert options["6"] == "ac1f0002"
    assert bytes.fromhex(options["12"]) == b"ip-172-31-0-10"


def test_groups_decide_who_reaches_whom(network: VpcNetwork, one: FakeGuest, two: FakeGuest) -> None:
    network.set_groups([group(), group(group_id=OTHER_GROUP)])
    assert two.connect("172.31.0.10", PORT, timeout_s=CLOSED_S) == "timeout"
    for rule in (
        tcp(PORT),
        tcp(8000, 9000, cidr="172.31.0.11/32"),
        from_group("tcp", PORT, group_id=OTHER_GROUP),
        from_group(group_id=OTHER_GROUP),
        RuleSpec(protocol="6", from_port=PORT, to_port=PORT, cidr="172.31.0.0/16"),
        EVERYTHING,
    ):
        network.set_groups([group(rule), group(group_id=OTHER_GROUP)])
        assert two.connect("172.31.0.10", PORT) == "open\none 172.31.0.11 hello", rule
    for rule in (tcp(PORT + 1), tcp(PORT, cidr="10.0.0.0/8"), from_group(), udp(PORT)):
        network.set_groups([group(rule), group(group_id=OTHER_GROUP)])
        assert two.connect("172.31.0.10", PORT, timeout_s=CLOSED_S) == "timeout", rule


def test_a_group_may_admit_its_own_members(network: VpcNetwork, one: FakeGuest, two: FakeGuest) -> None:
    network.set_groups([group(from_group()), group(group_id=OTHER_GROUP)])
    assert two.connect("172.31.0.10", PORT, timeout_s=CLOSED_S) == "timeout"
    network.update_interface(interface(11, OTHER_GROUP, GROUP))
    try:
        assert two.connect("172.31.0.10", PORT).startswith("open")
    finally:
        network.update_interface(interface(11, OTHER_GROUP))


def test_egress_rules_hold_at_the_sender(network: VpcNetwork, one: FakeGuest, two: FakeGuest) -> None:
    for egress, is_open in (
        ((), False),
        ((tcp(PORT, cidr="172.31.0.10/32"),), True),
        ((tcp(PORT, cidr="172.31.0.12/32"),), False),
        ((from_group(group_id=GROUP),), True),
    ):
        network.set_groups([group(EVERYTHING), group(egress=egress, group_id=OTHER_GROUP)])
        assert two.connect("172.31.0.10", PORT, timeout_s=patience(is_open)).startswith("open") == is_open, egress


def test_icmp_rules_go_by_type(network: VpcNetwork, one: FakeGuest, two: FakeGuest) -> None:
    for icmp_type, is_open in ((8, True), (3, False), (-1, True)):
        rule = RuleSpec(protocol="icmp", from_port=icmp_type, to_port=-1, cidr="0.0.0.0/0")
        network.set_groups([group(rule), group(group_id=OTHER_GROUP)])
        assert two.python(PING, "172.31.0.10", str(patience(is_open))) == ("answered" if is_open else "silent"), (
            icmp_type
        )


def test_a_connection_outlives_the_rule_that_admitted_it(network: VpcNetwork, one: FakeGuest, two: FakeGuest) -> None:
    network.set_groups([group(tcp(PORT))])
    with socket.create_connection(("127.201.1.10", PORT), timeout=OPENS_S) as client:
        client.sendall(b"a")
        assert client.recv(100)
        network.set_groups([group()])
        client.sendall(b"b")
        assert client.recv(100) == b"one 198.51.100.1 b"
        assert talk("127.201.1.10", PORT) == "refused"


def test_a_public_address_follows_the_groups(network: VpcNetwork, one: FakeGuest) -> None:
    network.set_groups([group(tcp(PORT), tcp(9000), tcp(9001, cidr="10.0.0.0/8"), from_group())])
    assert talk("127.201.1.10", PORT) == "one 198.51.100.1 hi"
    assert talk("127.201.1.10", 9000) == "reset"  # open, but nothing listens in the guest
    assert talk("127.201.1.10", 9001) == "refused"  # no client there can be is in that range
    assert talk("127.201.1.10", 22) == "refused"
    assert dict(network.endpoints(interface(10).interface_id)) == {PORT: PORT, 9000: 9000}
    network.set_groups([group()])
    assert talk("127.201.1.10", PORT) == "refused"


def test_a_rule_for_a_clients_own_address_admits_that_client(network: VpcNetwork, one: FakeGuest) -> None:
    network.set_groups([group(tcp(PORT, cidr="127.0.0.1/32"))])
    assert talk("127.201.1.10", PORT) == "one 198.51.100.1 hi"
    network.set_groups([group(tcp(PORT, cidr="127.0.0.9/32"))])
    assert talk("127.201.1.10", PORT) == "reset"
    network.set_groups([group(tcp(PORT, cidr="127.0.0.0/8"))])
    assert talk("127.201.1.10", PORT) == "one 198.51.100.1 hi"


def test_a_public_address_carries_udp(network: VpcNetwork, one: FakeGuest) -> None:
    network.set_groups([group(udp(PORT))])
    assert talk_udp("127.201.1.10", PORT, tries=30) == "one 198.51.100.1 hi"
    network.set_groups([group(udp(PORT, cidr="127.0.0.9/32"))])
    assert talk_udp("127.201.1.10", PORT) == "timeout"
    network.set_groups([group()])
    assert talk_udp("127.201.1.10", PORT) == "refused"


def test_many_bytes_arrive_whole_in_both_directions(network: VpcNetwork, one: FakeGuest) -> None:
    network.set_groups([group(tcp(9100))])
    one.python(
        "import subprocess, sys\nsubprocess.Popen(['/usr/bin/python3', '-c', sys.argv[1]], stdout=-3, stderr=-3)",
        "import socket\ns = socket.create_server(('', 9100))\nwhile 1:\n c, _ = s.accept()\n data = b''\n"
        " while d := c.recv(1 << 20): data += d\n c.sendall(data[::-1]); c.close()",
    )
    wait_for(lambda: one.check("ss", "-Hltn", "sport = :9100"), "the server in the guest")
    sent = bytes(range(256)) * 20000
    with socket.create_connection(("127.201.1.10", 9100), timeout=OPENS_S) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)  # half-closed: the answer still comes
        received = b""
        while data := client.recv(1 << 20):
            received += data
    assert received == sent[::-1]


def test_metadata_is_the_askers_own(one: FakeGuest, two: FakeGuest) -> None:
    code = (
        "import urllib.request, urllib.error\n"
        "try: print(urllib.request.urlopen("
        "'http://169.254.169.254/latest/meta-data/instance-id', timeout=20).read().decode())\n"
        "except urllib.error.HTTPError as e: print(e.code)"
    )
    assert one.python(code) == ABOUT.instance_id
    assert two.python(code) == "404"


def test_metadata_and_dns_answer_whatever_the_groups_say(network: VpcNetwork, one: FakeGuest) -> None:
    network.set_groups([group(egress=())])
    assert one.connect("169.254.169.254", 80).startswith("open")
    assert resolve(one, "ip-172-31-0-11.ec2.internal") == "172.31.0.11"


def resolve(guest: FakeGuest, name: str, *, server: str = "172.31.0.2", tcp_: bool = False) -> str:
    code = r"""
import socket, struct, sys
q = struct.pack(">HHHHHH", 9, 256, 1, 0, 0, 0)
q += b"".join(bytes([len(l)]) + l.encode() for l in sys.argv[1].split(".")) + b"\0\0\1\0\1"
if sys.argv[3] == "tcp":
    s = socket.create_connection((sys.argv[2], 53), timeout=20)
    s.sendall(len(q).to_bytes(2, "big") + q); r = s.recv(4096)[2:]
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20); s.sendto(q, (sys.argv[2], 53))
    r = s.recv(4096)
print(socket.inet_ntoa(r[-4:]) if r[7] else "none")
"""
    return guest.python(code, name, server, "tcp" if tcp_ else "udp")


def test_dns_answers_names_of_the_vpc_over_both_transports(network: VpcNetwork, one: FakeGuest) -> None:
    for is_tcp in (False, True):
        for server in ("172.31.0.2", "169.254.169.253"):
            name = "ec2-127-201-1-10.compute-1.amazonaws.com"
            assert resolve(one, name, server=server, tcp_=is_tcp) == "172.31.0.10"
    assert resolve(one, "ip-10-0-0-1.ec2.internal") == "none"


def test_a_guest_cannot_take_another_address(network: VpcNetwork, one: FakeGuest, two: FakeGuest) -> None:
    network.set_groups([group(EVERYTHING), group(EVERYTHING, group_id=OTHER_GROUP)])
    assert two.connect("172.31.0.10", PORT).startswith("open")
    two.check("ip", "addr", "add", "172.31.0.99/20", "dev", "eth0")
    try:
        code = (
            "import socket\ns = socket.socket(); s.bind(('172.31.0.99', 0)); s.settimeout(0.7)\n"
            "try: s.connect(('172.31.0.10', 8080)); print('open')\nexcept OSError as e: print('closed')"
        )
        assert two.python(code) == "closed"
    finally:
        two.check("ip", "addr", "del", "172.31.0.99/20", "dev", "eth0")


def test_a_guest_cannot_take_another_hardware_address(network: VpcNetwork, one: FakeGuest, two: FakeGuest) -> None:
    network.set_groups([group(EVERYTHING), group(EVERYTHING, group_id=OTHER_GROUP)])
    two.check("ip", "link", "set", "eth0", "address", "02:00:00:00:01:99")
    try:
        assert two.connect("172.31.0.10", PORT, timeout_s=CLOSED_S) in ("timeout", "error timed out")
    finally:
        two.check("ip", "link", "set", "eth0", "address", "02:00:00:00:01:0b")


def test_two_vpcs_with_the_same_addresses_do_not_meet(host: VpcHost, network: VpcNetwork, one: FakeGuest) -> None:
    other = host.vpc(2)
    other.set_groups([group(EVERYTHING)])
    network.set_groups([group(EVERYTHING)])
    stranger = host.guest(other, interface(20, vpc=2))
    stranger.serve_echo(PORT, "stranger")
    assert not stranger.connect("172.31.0.10", PORT, timeout_s=CLOSED_S).startswith("open")
    assert not one.connect("172.31.0.20", PORT, timeout_s=CLOSED_S).startswith("open")
    assert talk("127.201.2.20", PORT) == "stranger 198.51.100.1 hi"
    assert talk("127.201.1.10", PORT) == "one 198.51.100.1 hi"


def test_a_removed_interface_is_gone_with_its_connections(host: VpcHost, network: VpcNetwork, one: FakeGuest) -> None:
    network.set_groups([group(EVERYTHING)])
    guest = host.guest(network, interface(30))
    guest.serve_echo(PORT, "thirty")
    with socket.create_connection(("127.201.1.30", PORT), timeout=OPENS_S) as client:
        client.sendall(b"a")
        assert client.recv(100)
        network.remove_interface(interface(30).interface_id)
        network.remove_interface(interface(30).interface_id)
        client.settimeout(OPENS_S)
        with pytest.raises(ConnectionResetError):
            if not client.recv(100):
                raise ConnectionResetError
    assert talk("127.201.1.30", PORT) == "refused"
    assert not one.connect("172.31.0.30", PORT, timeout_s=CLOSED_S).startswith("open")
    guest.kill()
    assert host.guest(network, interface(30)).dhcp()[0] == "172.31.0.30"  # and may come back


def test_an_address_belongs_to_one_interface(network: VpcNetwork, one: FakeGuest) -> None:
    thief = interface(10, public=False)
    with pytest.raises(NetworkError, match=r"172\.31\.0\.10"):
        network.add_interface(type(thief)(**{**vars(thief), "interface_id": "eni-0000000000000dead"}))


def test_a_port_that_is_taken_on_the_host_is_led_to_from_another(network: VpcNetwork, one: FakeGuest) -> None:
    network.set_groups([group()])
    with socket.create_server(("127.201.1.10", PORT)):
        network.set_groups([group(tcp(PORT))])
        assert network.endpoints(interface(10).interface_id) == {PORT: PORT + 10000}
        assert talk("127.201.1.10", PORT + 10000) == "one 198.51.100.1 hi"
    network.set_groups([group()])


def test_a_vpc_with_many_groups_rules_and_interfaces_still_works(host: VpcHost) -> None:
    network = host.vpc(3)
    ids = [f"sg-0000000000000{number:04x}" for number in range(40)]
    filler = [tcp(port, cidr=f"10.0.{port}.0/24") for port in range(1, 60)]
    groups = [group(*filler, tcp(PORT), group_id=group_id) for group_id in ids]
    crowd = [
        replace(
            interface(1, *ids[number % 40 :][:5], vpc=3, public=False),
            interface_id=f"eni-0000000000003{number:04x}",
            mac=f"02:00:00:01:{number >> 8:02x}:{number & 255:02x}",
            private_ip=f"172.31.{8 + (number >> 8)}.{number & 255}",
        )
        for number in range(600)
    ]
    network.restore(groups, crowd)
    guest = host.guest(network, interface(10, ids[7], vpc=3))
    guest.serve_echo(PORT, "crowded")
    assert talk("127.201.3.10", PORT) == "crowded 198.51.100.1 hi"


def test_processes_of_a_vpc_hold_nothing_on_the_host(host: VpcHost, network: VpcNetwork, one: FakeGuest) -> None:
    status = Path(f"/proc/{one.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    if UID_BASE is not None:
        assert f"Uid:\t{UID_BASE + 1}\t" in status
    assert Path(f"/proc/{one.pid}/ns/net").stat().st_ino != Path("/proc/self/ns/net").stat().st_ino


def test_shutting_down_ends_agent_and_uplink(host: VpcHost) -> None:
    network = host.vpc(5)
    guest = host.guest(network, interface(10, vpc=5))
    namespace = network_namespace(guest.pid)
    pids = [*agents_in(namespace), *uplinks_of(namespace)]
    assert len(pids) == 2
    guest.kill()
    host.networks.shut_down(network.spec.vpc_id)
    host.networks.shut_down(network.spec.vpc_id)
    for pid in pids:
        wait_gone(pid)


def test_a_guest_is_seen_to_answer_until_its_network_or_its_machine_is_down(host: VpcHost) -> None:
    network = host.vpc(9)
    network.set_groups([group(egress=())])  # no rule is needed for it
    first, second = (host.guest(network, interface(number, vpc=9, public=False)) for number in (90, 91))
    both = {first.interface.interface_id, second.interface.interface_id}
    wait_for(lambda: network.find_answering([*both, "eni-00000000000000000"]) == both, "an answer of both")
    second.check("ip", "addr", "flush", "dev", "eth0")
    wait_for(lambda: network.find_answering(both) == {first.interface.interface_id}, "the first's answer alone")
    # An answer in another's name counts for nobody.
    second.check("ip", "addr", "add", "172.31.0.90/32", "dev", "eth0")
    wait_for(lambda: network.find_answering(both) == {first.interface.interface_id}, "the first's answer alone")
    first.kill()
    assert network.find_answering(both) == set()


def test_a_token_travels_as_far_as_the_hop_limit_says(one: FakeGuest) -> None:
    who = ("vpc-00000000000000001", "172.31.0.10")
    for limit in (1, 2, 64):
        KNOWN[who] = replace(ABOUT, hop_limit=limit)
        assert one.python(TOKEN_HOPS) == f"{limit} 64"
    KNOWN[who] = ABOUT


def test_a_public_address_changes_and_moves_under_running_machines(
    network: VpcNetwork, one: FakeGuest, two: FakeGuest
) -> None:
    groups, elastic = [group(tcp(PORT)), group(group_id=OTHER_GROUP)], "127.201.1.200"
    first, second = interface(10), interface(11, GROUP)
    try:
        network.restore(groups, [first, second])
        with socket.create_connection(("127.201.1.10", PORT), timeout=OPENS_S) as client:
            client.sendall(b"a")
            assert client.recv(100)
            network.restore(groups, [replace(first, public_ip=elastic), second])
            assert talk(elastic, PORT) == "one 198.51.100.1 hi"
            assert talk("127.201.1.10", PORT) == "refused"
            assert client.recv(100) == b"", "a connection over the address that is gone ends"
        network.restore(groups, [replace(second, public_ip=elastic), first])
        assert talk(elastic, PORT) == "two 198.51.100.1 hi"
        assert talk("127.201.1.10", PORT) == "one 198.51.100.1 hi"
        assert talk("127.201.1.11", PORT) == "refused"
        assert dict(network.endpoints(second.interface_id)) == {PORT: PORT}
    finally:
        network.restore(groups, [first, interface(11, OTHER_GROUP)])
