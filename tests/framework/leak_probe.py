"""Runs on the fake host: a VPC with a fake guest that tries every way out; prints what it reached, as JSON.

Every server there greets with its own name, so a connection to the wrong one shows.
"""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.framework.fake_guest import CLOSED_S, OPENS_S
from tests.framework.netns import HOST_ADDRESS, INTERNET_ADDRESS
from tests.framework.patience import wait_for
from tests.framework.vpc_host import EVERYTHING, group, interface, vpc_host

PORT = 8080
LATER_ADDRESS = "192.0.2.77"


def serve_on_host() -> None:
    """A service of the host on all its addresses, TCP and UDP, as careless programs have."""
    tcp = socket.create_server(("0.0.0.0", PORT))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", PORT))

    def streams() -> None:
        while True:
            client, _ = tcp.accept()
            with client:
                client.sendall(b"the host")

    def datagrams() -> None:
        while True:
            _, peer = udp.recvfrom(1000)
            udp.sendto(b"the host", peer)

    for work in (streams, datagrams):
        threading.Thread(target=work, daemon=True).start()


_UDP = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.7)
said = "closed"
for _ in range(int(sys.argv[2])):
    try: s.sendto(b"x", (sys.argv[1], 8080)); said = s.recv(100).decode(); break
    except OSError: pass
print(said)
"""


def when_closed(connect: Callable[[], str]) -> str:
    """What a connection comes to once it is closed, or still comes to when it ought to be."""
    with suppress(AssertionError):
        wait_for(lambda: not connect().startswith("open"), "its end", timeout_s=30)
    return connect()


def main() -> None:
    """Try everything."""
    serve_on_host()
    found: dict[str, Any] = {}
    with vpc_host() as host:
        network = host.vpc()
        network.set_groups([group(EVERYTHING)])
        guest = host.guest(network, interface(10))
        targets = [INTERNET_ADDRESS, HOST_ADDRESS, "192.0.2.255", "100.64.0.2", "100.64.0.3"]
        targets += ["169.254.169.254", "169.254.1.1", "127.0.0.1", "0.0.0.0", "127.201.1.10"]
        targets += ["172.31.0.1", "172.31.9.9", "198.51.100.1"]
        # The guest's own loopback is its own: send those as packets to the router instead.
        guest.check("ip", "route", "add", "table", "local", "unicast", "127.9.9.9/32", "via", "172.31.0.1")
        targets.append("127.9.9.9")
        for target in targets:
            is_open = target == INTERNET_ADDRESS
            found[target] = guest.connect(target, PORT, timeout_s=OPENS_S if is_open else CLOSED_S)
            found[f"udp {target}"] = guest.python(_UDP, target, "40" if is_open else "1")
        guest.serve_echo(PORT, "guest")
        with socket.create_connection(("127.201.1.10", PORT), timeout=OPENS_S) as client:
            client.sendall(b"x")
            found["public address"] = client.recv(100).decode()
        with socket.create_connection(("127.0.0.1", PORT), timeout=OPENS_S) as client:
            found["loopback"] = client.recv(100).decode()
        found["metadata of the host's cloud"] = guest.connect("169.254.169.254", 80)
        subprocess.run(["ip", "addr", "add", f"{LATER_ADDRESS}/32", "dev", "lo"], check=True)
        found["later"] = when_closed(lambda: guest.connect(LATER_ADDRESS, PORT, timeout_s=CLOSED_S))
        found["internet again"] = guest.connect(INTERNET_ADDRESS, PORT)
        found["links"] = sorted(name for _, name in socket.if_nameindex())
        ports = subprocess.run(["ss", "-Htln"], capture_output=True, text=True, check=True).stdout
        found["listening"] = sorted({line.split()[3].rpartition(":")[0] for line in ports.splitlines()})
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
        found["tables"] = tables.stdout
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
