"""The public addresses of a VPC's interfaces, each kept in step with its interface's rules."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from bakehouse.network.exposure import ingress_rules, open_ports
from bakehouse.network.forwarder import MakeSocket, TcpForwarder
from bakehouse.network.spec import TCP, UDP, GroupSpec, InterfaceSpec
from bakehouse.network.udp_forwarder import UdpForwarder

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _PublicAddress:
    public_ip: str
    private_ip: str
    tcp: TcpForwarder
    udp: UdpForwarder

    def close(self) -> None:
        self.tcp.close()
        self.udp.close()


class PublicAddresses:
    """All public addresses of one VPC; for the loop's thread."""

    def __init__(self, *, clients: IPv4Network, make_stream: MakeSocket, make_datagram: MakeSocket) -> None:
        self._clients = clients
        self._make_stream, self._make_datagram = make_stream, make_datagram
        self._open: dict[str, _PublicAddress] = {}

    def follow(self, interfaces: Mapping[str, InterfaceSpec], groups: Mapping[str, GroupSpec]) -> None:
        """Open, change and close addresses so that they match what is described."""
        for interface_id, address in list(self._open.items()):
            interface = interfaces.get(interface_id)
            now = (interface.public_ip, interface.private_ip) if interface else None
            if now != (address.public_ip, address.private_ip):
                address.close()
                del self._open[interface_id]
        for interface in interfaces.values():
            if interface.public_ip is not None:
                self._follow_one(interface, groups)

    def endpoints(self, interface_id: str) -> dict[int, int]:
        """Open TCP port -> the host port that leads to it (another only where that one cannot be had)."""
        address = self._open.get(interface_id)
        return address.tcp.endpoints if address else {}

    def close(self) -> None:
        """Close every listener and connection."""
        self.follow({}, {})

    def _follow_one(self, interface: InterfaceSpec, groups: Mapping[str, GroupSpec]) -> None:
        assert interface.public_ip is not None
        address = self._open.get(interface.interface_id)
        if address is None:
            ends = {"public_ip": interface.public_ip, "private_ip": interface.private_ip}
            address = _PublicAddress(
                **ends,
                tcp=TcpForwarder(**ends, make_socket=self._make_stream),
                udp=UdpForwarder(**ends, make_socket=self._make_datagram),
            )
            self._open[interface.interface_id] = address
        rules = ingress_rules(interface, groups)
        for protocol, forwarder in ((TCP, address.tcp), (UDP, address.udp)):
            chosen = open_ports(rules, protocol, self._clients)
            forwarder.follow(rules, chosen.ports)
            if chosen.is_capped:
                log.info("%s: of a wide port range only the usual ports are open", interface.public_ip)
