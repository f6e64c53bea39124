"""The addresses and device names inside a VPC's namespace.

Invariant: they follow from the VPC's and the subnet's CIDR alone, so a restarted service finds them again.
"""

import ipaddress
from ipaddress import IPv4Address, IPv4Network

# VPC User Guide, "Subnet CIDR blocks" and "DNS attributes"; EC2 User Guide, "Instance metadata".
METADATA_ADDRESS = IPv4Address("169.254.169.254")
LINK_LOCAL_RESOLVER = IPv4Address("169.254.169.253")
# Source address, inside a VPC, of everything that comes from outside through a public address.
GATEWAY_ADDRESS = IPv4Address("198.51.100.1")
ROUTER_MAC = "02:ff:00:00:00:01"
# EC2's own jumbo frame size.
TAP_MTU = 9001
UPLINK = "uplink0"
UPLINK_MTU = 65520
_UPLINK_NETWORKS = (IPv4Network("100.64.0.0/24"), IPv4Network("198.18.0.0/24"))

# What no guest may send to through the uplink, whatever its groups say. The last is another cloud's
# metadata address outside link-local (Azure's wire server).
NEVER_OUTSIDE = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "198.51.100.1/32",
        "224.0.0.0/3",
    )
)


def tap_name(interface_id: str) -> str:
    """The device of an interface: 15 characters, the kernel's limit."""
    return f"tap{interface_id[-12:]}"


def vpc_router(cidr: str) -> IPv4Address:
    """The VPC's own router address."""
    return ipaddress.IPv4Network(cidr).network_address + 1


def vpc_resolver(cidr: str) -> IPv4Address:
    """The VPC's DNS server ("VPC + 2")."""
    return ipaddress.IPv4Network(cidr).network_address + 2


def subnet_router(subnet_cidr: str) -> IPv4Address:
    """The gateway a guest of this subnet is told."""
    return ipaddress.IPv4Network(subnet_cidr).network_address + 1


def uplink_network(cidr: str) -> IPv4Network:
    """The small network between the namespace and its uplink; never inside the VPC's own range."""
    vpc = ipaddress.IPv4Network(cidr)
    return next(network for network in _UPLINK_NETWORKS if not network.overlaps(vpc))
